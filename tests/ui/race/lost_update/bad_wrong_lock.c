// Requests and the thread hold a lock each, but not the same.
#include "ui_driver.h"

static KEVENT Wake, Stop;
static PVOID Thread;
static FAST_MUTEX Requests;
static ERESOURCE ServiceLock;
static ULONG Waiting;

static VOID Serve(PVOID Context)
{
    PVOID Events[] = { &Wake, &Stop };

    UNREFERENCED_PARAMETER(Context);
    while (KeWaitForMultipleObjects(2, Events, WaitAny, Executive, KernelMode, FALSE, NULL, NULL)
           == STATUS_WAIT_0) {
        KeEnterCriticalRegion();
        ExAcquireResourceExclusiveLite(&ServiceLock, TRUE); //~ NOTE: the executive resource was
        Waiting--; //~ NOTE: holding the executive resource
        ExReleaseResourceLite(&ServiceLock);
        KeLeaveCriticalRegion();
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeSetEvent(&Wake, IO_NO_INCREMENT, FALSE);
    ExAcquireFastMutex(&Requests); //~ NOTE: the fast mutex was acquired here
    Waiting++; //~ race::lost_update
    ExReleaseFastMutex(&Requests);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeSetEvent(&Stop, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Thread);
    ExDeleteResourceLite(&ServiceLock);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    HANDLE Handle;
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(Status)) return Status;
    Driver->DriverUnload = Unload;
    KeInitializeEvent(&Wake, SynchronizationEvent, FALSE);
    KeInitializeEvent(&Stop, NotificationEvent, FALSE);
    ExInitializeFastMutex(&Requests);
    ExInitializeResourceLite(&ServiceLock);
    Status = PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Serve, NULL);
    if (!NT_SUCCESS(Status)) {
        ExDeleteResourceLite(&ServiceLock);
        UiUnload(Driver);
        return Status;
    }
    ObReferenceObjectByHandle(Handle, THREAD_ALL_ACCESS, NULL, KernelMode, &Thread, NULL);
    ZwClose(Handle);
    return STATUS_SUCCESS;
}
