/* Two callers take blocks from one lookaside list. The WDK's header inlines the allocation, and
   counts in the list without a lock. */
#include "ui_driver.h"

static NPAGED_LOOKASIDE_LIST Packets;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PULONG Packet;

    UNREFERENCED_PARAMETER(Device);
    Packet = ExAllocateFromNPagedLookasideList(&Packets);
    if (Packet == NULL) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    *Packet = 1;
    ExFreeToNPagedLookasideList(&Packets, Packet);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UiUnload(Driver);
    ExDeleteNPagedLookasideList(&Packets);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeNPagedLookasideList(&Packets, NULL, NULL, POOL_NX_ALLOCATION, 64, UI_TAG, 0);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) {
        ExDeleteNPagedLookasideList(&Packets);
        return Status;
    }
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
