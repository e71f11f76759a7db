// A thread prepares a table and publishes it by an interlocked exchange; requests that see the
// flag go on counting in it, interlocked.
#include "ui_driver.h"

static struct {
    LONG Limit;
    LONG Steps;
    volatile LONG Used;
} Table;
static volatile LONG IsReady;
static PVOID Thread;

static VOID Prepare(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    for (LONG i = 0; i < 20; i++) {
        Table.Limit += i;
        Table.Steps++;
    }
    Table.Used = 1;
    InterlockedExchange(&IsReady, 1);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    if (!InterlockedCompareExchange(&IsReady, 0, 0)) {
        return UiComplete(Irp, STATUS_DEVICE_NOT_READY, 0);
    }
    if (InterlockedIncrement(&Table.Used) > Table.Limit + Table.Steps) {
        return UiComplete(Irp, STATUS_DEVICE_BUSY, 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Thread);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    HANDLE Handle;
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    Status = PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Prepare, NULL);
    if (!NT_SUCCESS(Status)) {
        UiUnload(Driver);
        return Status;
    }
    ObReferenceObjectByHandle(Handle, THREAD_ALL_ACCESS, NULL, KernelMode, &Thread, NULL);
    ZwClose(Handle);
    return STATUS_SUCCESS;
}
