// Two places free the block; the first sets the pointer to null, the second looks.
#include <ntddk.h>

static PVOID Block;

static VOID Release(VOID)
{
    if (!Block) return;
    ExFreePoolWithTag(Block, 'tseT');
    Block = NULL;
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    Release();
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 32, 'tseT');
    Driver->DriverUnload = Unload;
    Release();
    Release();
    return STATUS_SUCCESS;
}
