/* Each control request is answered from a work item of its own. */
#include "ui_driver.h"

typedef struct _ANSWER {
    PIO_WORKITEM Item;
    PIRP Irp;
} ANSWER;

static VOID Work(PDEVICE_OBJECT Device, PVOID Context)
{
    ANSWER *Answer = Context;
    PIRP Irp = Answer->Irp;

    UNREFERENCED_PARAMETER(Device);
    IoFreeWorkItem(Answer->Item);
    ExFreePoolWithTag(Answer, UI_TAG);
    UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS AnswerLater(PDEVICE_OBJECT Device, PIRP Irp)
{
    ANSWER *Answer;

    IoMarkIrpPending(Irp);
    Answer = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(ANSWER), UI_TAG);
    if (Answer != NULL) {
        Answer->Irp = Irp;
        Answer->Item = IoAllocateWorkItem(Device);
        if (Answer->Item != NULL) {
            IoQueueWorkItem(Answer->Item, Work, DelayedWorkQueue, Answer);
            return STATUS_PENDING;
        }
        ExFreePoolWithTag(Answer, UI_TAG);
    }
    UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    return STATUS_PENDING;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return AnswerLater(Device, Irp);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
