// Without optimisation every temporary lives on the stack; each is written before it is read.
//@cflags: -O0
#include "ui_driver.h"

typedef struct _POINT {
    SHORT X;
    LONG Y;
    UCHAR Kind;
} POINT;

static POINT Moved(POINT From, LONG By)
{
    POINT To;

    To.X = From.X;
    To.Y = From.Y + By;
    To.Kind = From.Kind;
    return To;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    POINT Here, There;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Device);
    Here.X = 1;
    Here.Y = 2;
    Here.Kind = 3;
    There = Moved(Here, 5);
    if (There.X == 1 && There.Y == 7 && There.Kind == 3) {
        Status = STATUS_SUCCESS;
    } else {
        Status = STATUS_UNSUCCESSFUL;
    }
    return UiComplete(Irp, Status, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
