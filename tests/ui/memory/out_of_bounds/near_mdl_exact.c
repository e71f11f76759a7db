// A few bytes in the middle of a block, described by an MDL, are written through its mapping.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PUCHAR Block, Window;
    PMDL Mdl;
    ULONG i;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 100, 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    Mdl = IoAllocateMdl(Block + 10, 50, FALSE, FALSE, NULL);
    if (!Mdl) {
        ExFreePoolWithTag(Block, 'tseT');
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    MmBuildMdlForNonPagedPool(Mdl);
    Window = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    if (Window) {
        for (i = 0; i < MmGetMdlByteCount(Mdl); i++) ((volatile UCHAR *)Window)[i] = 0;
    }
    Block[99] = 1;
    IoFreeMdl(Mdl);
    ExFreePoolWithTag(Block, 'tseT');
    return STATUS_SUCCESS;
}
