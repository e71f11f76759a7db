/* Requests are answered by a work item, or by a timer's DPC where there is none. */
#include "ui_driver.h"

typedef struct _LATER {
    KTIMER Timer;
    KDPC Dpc;
    PIRP Irp;
} LATER;

static VOID Work(PVOID Device, PVOID Context, PIO_WORKITEM Item)
{
    UNREFERENCED_PARAMETER(Device);
    IoFreeWorkItem(Item);
    UiComplete(Context, STATUS_SUCCESS, 0);
}

static VOID OnTimer(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    LATER *Later = Context;
    PIRP Irp = Later->Irp;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    ExFreePoolWithTag(Later, UI_TAG);
    UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID AnswerByTimer(PIRP Irp)
{
    LATER *Later = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(LATER), UI_TAG);
    LARGE_INTEGER Due;

    if (Later == NULL) {
        UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
        return;
    }
    Later->Irp = Irp;
    KeInitializeTimer(&Later->Timer);
    KeInitializeDpc(&Later->Dpc, OnTimer, Later);
    Due.QuadPart = -10000LL;
    KeSetTimer(&Later->Timer, Due, &Later->Dpc);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PIO_WORKITEM Item;

    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    IoMarkIrpPending(Irp);
    Item = IoAllocateWorkItem(Device);
    if (Item != NULL) IoQueueWorkItemEx(Item, Work, DelayedWorkQueue, Irp);
    else AnswerByTimer(Irp);
    return STATUS_PENDING;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
