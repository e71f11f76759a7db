/* Every request notes three records in a common list, then flushes the list to the debugger. */
#include "ui_driver.h"

#define RECORDS 3

typedef struct _RECORD {
    LIST_ENTRY Link;
    ULONG Number;
} RECORD;

static KSPIN_LOCK Lock;
static LIST_ENTRY Records;

static NTSTATUS Note(ULONG Number)
{
    RECORD *Record = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(RECORD), UI_TAG);
    KIRQL OldIrql;

    if (Record == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Record->Number = Number;
    KeAcquireSpinLock(&Lock, &OldIrql);
    InsertTailList(&Records, &Record->Link);
    KeReleaseSpinLock(&Lock, OldIrql);
    return STATUS_SUCCESS;
}

/* Printing is slow: not under the spin lock. */
static VOID Flush(VOID)
{
    PLIST_ENTRY Entry;
    RECORD *Record;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    while (!IsListEmpty(&Records)) {
        Entry = RemoveHeadList(&Records);
        KeReleaseSpinLock(&Lock, OldIrql);
        Record = CONTAINING_RECORD(Entry, RECORD, Link);
        DbgPrint("record %u\n", Record->Number);
        ExFreePoolWithTag(Record, UI_TAG);
        KeAcquireSpinLock(&Lock, &OldIrql);
    }
    KeReleaseSpinLock(&Lock, OldIrql);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG i;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    for (i = 0; i < RECORDS && NT_SUCCESS(Status); i++) Status = Note(i);
    Flush();
    return UiComplete(Irp, Status, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    InitializeListHead(&Records);
    return UiStart(Driver, DeviceControl);
}
