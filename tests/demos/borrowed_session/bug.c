//@depth: 3
//@expect: memory::use_after_free
//@bug: A request without memory borrows the session of another one and takes no reference in time.
/* Every request is a session while it runs; without memory for one it uses the oldest there is. */
#include "ui_driver.h"

typedef struct _SESSION {
    LIST_ENTRY Link;
    volatile LONG References;
    volatile LONG Uses;
} SESSION;

static KSPIN_LOCK Lock;
static LIST_ENTRY Sessions;

static VOID Release(SESSION *Session)
{
    if (InterlockedDecrement(&Session->References) == 0) ExFreePoolWithTag(Session, UI_TAG);
}

static SESSION *Borrow(VOID)
{
    SESSION *Session = NULL;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    if (!IsListEmpty(&Sessions)) {
        Session = CONTAINING_RECORD(Sessions.Flink, SESSION, Link);
    }
    KeReleaseSpinLock(&Lock, OldIrql);
    if (Session != NULL) InterlockedIncrement(&Session->References);
    return Session;
}

static NTSTATUS ServeBorrowed(VOID)
{
    SESSION *Session = Borrow();

    if (Session == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    InterlockedIncrement(&Session->Uses);
    Release(Session);
    return STATUS_SUCCESS;
}

static NTSTATUS Serve(VOID)
{
    SESSION *Mine = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(SESSION), UI_TAG);
    KIRQL OldIrql;

    if (Mine == NULL) return ServeBorrowed();
    Mine->References = 1;
    KeAcquireSpinLock(&Lock, &OldIrql);
    InsertTailList(&Sessions, &Mine->Link);
    KeReleaseSpinLock(&Lock, OldIrql);
    InterlockedIncrement(&Mine->Uses);
    KeAcquireSpinLock(&Lock, &OldIrql);
    RemoveEntryList(&Mine->Link);
    KeReleaseSpinLock(&Lock, OldIrql);
    Release(Mine);
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, Serve(), 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    InitializeListHead(&Sessions);
    return UiStart(Driver, DeviceControl);
}
