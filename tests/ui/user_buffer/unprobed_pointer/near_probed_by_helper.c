// The pointer stands in a structure of the caller; a helper probes it, another routine reads it.
#include "ui_driver.h"

typedef struct _REQUEST {
    volatile UCHAR *Data;
    ULONG Length;
} REQUEST;

static __declspec(noinline) VOID Check(volatile UCHAR *Data, ULONG Length)
{
    ProbeForRead((PVOID)Data, Length, sizeof(UCHAR));
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    REQUEST Request;
    ULONG Sum = 0, i;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)
        || At->Parameters.DeviceIoControl.InputBufferLength < sizeof(Request)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Request = *(REQUEST *)Irp->AssociatedIrp.SystemBuffer;
    if (!Request.Length || Request.Length > 64) {
        return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    }
    __try {
        Check(Request.Data, Request.Length);
        for (i = 0; i < Request.Length; i++) Sum += Request.Data[i];
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return UiComplete(Irp, STATUS_ACCESS_VIOLATION, 0);
    }
    return UiComplete(Irp, Sum ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
