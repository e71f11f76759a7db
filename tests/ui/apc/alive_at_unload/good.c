// An APC of kernel mode is delivered at once.
#include "ui_driver.h"

/* Exported, and declared by no public header. */
NTKERNELAPI VOID NTAPI KeInitializeApc(
    PKAPC Apc, PKTHREAD Thread, ULONG Environment, PVOID Kernel, PVOID Rundown, PVOID Normal,
    KPROCESSOR_MODE Mode, PVOID Context);
NTKERNELAPI BOOLEAN NTAPI KeInsertQueueApc(PKAPC Apc, PVOID First, PVOID Second, LONG Increment);

static KAPC Apc;
static ULONG Delivered;
static LONG IsReady;

static VOID NTAPI Special(
    PKAPC Apc, PVOID *Normal, PVOID *Context, PVOID *First, PVOID *Second)
{
    UNREFERENCED_PARAMETER(Apc);
    UNREFERENCED_PARAMETER(Normal);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    Delivered++;
}

static VOID NTAPI Normal(PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    Delivered++;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    if (!InterlockedExchange(&IsReady, TRUE)) {
        KeInitializeApc(
            &Apc, KeGetCurrentThread(), 0, Special, NULL, (PVOID)Normal, KernelMode, NULL);
        KeInsertQueueApc(&Apc, NULL, NULL, 0);
    }
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    Delivered = 0;
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    return Status;
}
