/* A test driver with a device that passes its requests to another one below, \Device\UiLow. The
   file that includes it defines how: PassDown. */
#ifndef STACK_H
#define STACK_H

#include "ui_driver.h"

static PDEVICE_OBJECT Upper, Lower, Target;

static NTSTATUS PassDown(PIRP Irp);

static inline NTSTATUS StackCreateClose(PDEVICE_OBJECT Device, PIRP Irp)
{
    if (Device != Upper) return UiCreateClose(Device, Irp);
    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(Lower, Irp);
}

static inline NTSTATUS StackDeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    return Device == Upper ? PassDown(Irp) : UiComplete(Irp, STATUS_SUCCESS, 0);
}

static inline VOID StackUnload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");

    UNREFERENCED_PARAMETER(Driver);
    IoDetachDevice(Lower);
    IoDeleteDevice(Upper);
    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Target);
}

static inline NTSTATUS StackStart(PDRIVER_OBJECT Driver)
{
    NTSTATUS Status = UiStart(Driver, StackDeviceControl);

    if (!NT_SUCCESS(Status)) return Status;
    Target = Driver->DeviceObject;
    Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Upper);
    if (!NT_SUCCESS(Status)) {
        UiUnload(Driver);
        return Status;
    }
    Target->Flags &= ~DO_DEVICE_INITIALIZING;
    Lower = IoAttachDeviceToDeviceStack(Upper, Target);
    if (!Lower) {
        IoDeleteDevice(Upper);
        UiUnload(Driver);
        return STATUS_NO_SUCH_DEVICE;
    }
    Upper->Flags |= Lower->Flags & (DO_BUFFERED_IO | DO_DIRECT_IO);
    Upper->Flags &= ~DO_DEVICE_INITIALIZING;
    Driver->MajorFunction[IRP_MJ_CREATE] = StackCreateClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = StackCreateClose;
    Driver->DriverUnload = StackUnload;
    return STATUS_SUCCESS;
}

#endif
