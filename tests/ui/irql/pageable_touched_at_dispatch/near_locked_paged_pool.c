// Paged pool is locked by an MDL; its mapping, and only that, is used at DISPATCH_LEVEL.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = STATUS_INSUFFICIENT_RESOURCES;
    volatile ULONG *Count;
    KIRQL OldIrql;
    PVOID Block;
    PMDL Mdl;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePool2(POOL_FLAG_PAGED, 128, 'tseT');
    if (!Block) return Status;
    Mdl = IoAllocateMdl(Block, 128, FALSE, FALSE, NULL);
    if (Mdl) {
        __try {
            MmProbeAndLockPages(Mdl, KernelMode, IoModifyAccess);
            Status = STATUS_SUCCESS;
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            Status = GetExceptionCode();
        }
        Count = NT_SUCCESS(Status) ? MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority) : NULL;
        if (Count) {
            KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
            Count[31] = Count[0] + 1;
            KeLowerIrql(OldIrql);
        }
        if (NT_SUCCESS(Status)) MmUnlockPages(Mdl);
        IoFreeMdl(Mdl);
    }
    ExFreePoolWithTag(Block, 'tseT');
    return Status;
}
