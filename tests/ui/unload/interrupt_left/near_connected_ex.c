// The fully specified form, disconnected when the last handle is closed, long before Unload.
#include "ui_driver.h"

static LONG Open;
static PKINTERRUPT Interrupt;
static KSPIN_LOCK Lock;

static BOOLEAN Isr(PKINTERRUPT Object, PVOID Context)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    return FALSE;
}

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    IO_CONNECT_INTERRUPT_PARAMETERS Connect;
    NTSTATUS Status;

    if (InterlockedExchange(&Open, 1)) return UiComplete(Irp, STATUS_DEVICE_BUSY, 0);
    RtlZeroMemory(&Connect, sizeof(Connect));
    Connect.Version = CONNECT_FULLY_SPECIFIED;
    Connect.FullySpecified.PhysicalDeviceObject = Device;
    Connect.FullySpecified.InterruptObject = &Interrupt;
    Connect.FullySpecified.ServiceRoutine = Isr;
    Connect.FullySpecified.SpinLock = &Lock;
    Connect.FullySpecified.SynchronizeIrql = 6;
    Connect.FullySpecified.Irql = 5;
    Connect.FullySpecified.Vector = 0x51;
    Connect.FullySpecified.ShareVector = TRUE;
    Connect.FullySpecified.ProcessorEnableMask = 1;
    Status = IoConnectInterruptEx(&Connect);
    if (!NT_SUCCESS(Status)) InterlockedExchange(&Open, 0);
    return UiComplete(Irp, Status, 0);
}

static NTSTATUS Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    IO_DISCONNECT_INTERRUPT_PARAMETERS Disconnect;

    UNREFERENCED_PARAMETER(Device);
    Disconnect.Version = CONNECT_FULLY_SPECIFIED;
    Disconnect.ConnectionContext.InterruptObject = Interrupt;
    IoDisconnectInterruptEx(&Disconnect);
    InterlockedExchange(&Open, 0);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    Status = UiStart(Driver, UiCreateClose);
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    return Status;
}
