// A callback object of the driver's own: it notifies itself, and unregisters on every path.
#include "ui_driver.h"

static PCALLBACK_OBJECT Object;
static PVOID Registration;
static LONG Notified;

static VOID Count(PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    InterlockedIncrement((PLONG)Context);
}

static NTSTATUS Control(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL Irql;

    UNREFERENCED_PARAMETER(Device);
    ExNotifyCallback(Object, NULL, NULL);
    KeRaiseIrql(DISPATCH_LEVEL, &Irql);
    ExNotifyCallback(Object, NULL, NULL);
    KeLowerIrql(Irql);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    ExUnregisterCallback(Registration);
    ObDereferenceObject(Object);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Callback\\UiOwn");
    OBJECT_ATTRIBUTES Attributes;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    InitializeObjectAttributes(&Attributes, &Name, OBJ_CASE_INSENSITIVE, NULL, NULL);
    Status = ExCreateCallback(&Object, &Attributes, TRUE, FALSE);
    if (!NT_SUCCESS(Status)) return Status;
    Registration = ExRegisterCallback(Object, Count, &Notified);
    Status = Registration ? UiStart(Driver, Control) : STATUS_INSUFFICIENT_RESOURCES;
    if (!NT_SUCCESS(Status)) {
        if (Registration) ExUnregisterCallback(Registration);
        ObDereferenceObject(Object);
        return Status;
    }
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
