// A shared line: the routine is asked about interrupts of other devices, and counts under its lock.
#include "ui_driver.h"

static PKINTERRUPT Interrupt;
static ULONG Foreign;

static BOOLEAN Isr(PKINTERRUPT Object, PVOID Context)
{
    UNREFERENCED_PARAMETER(Object);
    ++*(PULONG)Context;
    return FALSE;
}

static BOOLEAN Read(PVOID Context)
{
    *(PULONG)Context = Foreign;
    Foreign = 0;
    return TRUE;
}

static NTSTATUS Control(PDEVICE_OBJECT Device, PIRP Irp)
{
    ULONG Count;
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    KeSynchronizeExecution(Interrupt, Read, &Count);
    Irql = KeAcquireInterruptSpinLock(Interrupt);
    Foreign += Count;
    KeReleaseInterruptSpinLock(Interrupt, Irql);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    IoDisconnectInterrupt(Interrupt);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, Control);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    Status = IoConnectInterrupt(
        &Interrupt, Isr, &Foreign, NULL, 0x51, 5, 5, LevelSensitive, TRUE, (KAFFINITY)-1, FALSE);
    if (!NT_SUCCESS(Status)) UiUnload(Driver);
    return Status;
}
