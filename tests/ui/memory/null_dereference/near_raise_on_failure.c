// With POOL_FLAG_RAISE_ON_FAILURE the allocation never returns null, and its exception is taken.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile ULONG *Block = NULL;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    __try {
        Block = ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_RAISE_ON_FAILURE, 64, 'tseT');
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    Block[0] = 1;
    ExFreePoolWithTag((PVOID)Block, 'tseT');
    return STATUS_SUCCESS;
}
