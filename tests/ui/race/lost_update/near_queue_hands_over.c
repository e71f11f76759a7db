// Requests hand buffers to a thread through a queue; each side counts in a buffer while it has it.
#include "ui_driver.h"

typedef struct {
    LIST_ENTRY Link;
    LONG Count;
} JOB;

static KQUEUE Queue;
static PVOID Thread;
static LIST_ENTRY Last;

static VOID Serve(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    for (;;) {
        PLIST_ENTRY Link = KeRemoveQueue(&Queue, KernelMode, NULL);
        JOB *Job = CONTAINING_RECORD(Link, JOB, Link);

        if (Link == &Last) break;
        Job->Count++;
        ExFreePoolWithTag(Job, UI_TAG);
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    JOB *Job = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(JOB), UI_TAG);

    UNREFERENCED_PARAMETER(Device);
    if (!Job) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Job->Count++;
    KeInsertQueue(&Queue, &Job->Link);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeInsertQueue(&Queue, &Last);
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Thread);
    KeRundownQueue(&Queue);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    HANDLE Handle;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeQueue(&Queue, 1);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    Status = PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Serve, NULL);
    if (!NT_SUCCESS(Status)) {
        UiUnload(Driver);
        return Status;
    }
    ObReferenceObjectByHandle(Handle, THREAD_ALL_ACCESS, NULL, KernelMode, &Thread, NULL);
    ZwClose(Handle);
    return STATUS_SUCCESS;
}
