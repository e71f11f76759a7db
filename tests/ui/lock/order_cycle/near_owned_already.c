// The lock that comes second is owned already, and so not waited for.
#include "ui_driver.h"

static KMUTEX Users, Files;
static ULONG Count;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeWaitForSingleObject(&Users, Executive, KernelMode, FALSE, NULL);
    KeWaitForSingleObject(&Files, Executive, KernelMode, FALSE, NULL);
    Count++;
    KeReleaseMutex(&Files, FALSE);
    KeReleaseMutex(&Users, FALSE);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeWaitForSingleObject(&Users, Executive, KernelMode, FALSE, NULL);
    KeWaitForSingleObject(&Files, Executive, KernelMode, FALSE, NULL);
    KeWaitForSingleObject(&Users, Executive, KernelMode, FALSE, NULL);
    Count++;
    KeReleaseMutex(&Users, FALSE);
    KeReleaseMutex(&Files, FALSE);
    KeReleaseMutex(&Users, FALSE);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeMutex(&Users, 0);
    KeInitializeMutex(&Files, 0);
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    return UiStart(Driver, DeviceControl);
}
