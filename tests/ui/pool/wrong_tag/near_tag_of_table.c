// Tags come from a table, some shorter than four characters; each block is freed with its own.
#include <ntddk.h>

static const ULONG Tags[] = {'tseT', 'xF', 'A', '~tsT', 'tseT' | 0x80000000};

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Blocks[ARRAYSIZE(Tags)];
    ULONG i;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    for (i = 0; i < ARRAYSIZE(Tags); i++) {
        Blocks[i] = ExAllocatePoolWithTag(NonPagedPoolNx, 16 + i, Tags[i]);
    }
    while (i--) {
        if (Blocks[i]) ExFreePoolWithTag(Blocks[i], Tags[i]);
    }
    return STATUS_SUCCESS;
}
