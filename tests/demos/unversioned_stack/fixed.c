/* Each request takes two of six nodes from a lock-free stack and hangs a buffer on each. */
#include "ui_driver.h"

#define NODES 6
#define BYTES 64

typedef struct DECLSPEC_ALIGN(16) _NODE {
    SLIST_ENTRY Next;
    PVOID Buffer;
} NODE;

static NODE Nodes[NODES];
static SLIST_HEADER Head;
static KSPIN_LOCK HeadLock;

static VOID Push(NODE *Node)
{
    ExInterlockedPushEntrySList(&Head, &Node->Next, &HeadLock);
}

static NODE *Pop(VOID)
{
    PSLIST_ENTRY Entry = ExInterlockedPopEntrySList(&Head, &HeadLock);

    return Entry == NULL ? NULL : CONTAINING_RECORD(Entry, NODE, Next);
}

static NTSTATUS Serve(VOID)
{
    NODE *Pair[2];
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG i;

    for (i = 0; i < 2; i++) {
        Pair[i] = Pop();
        if (Pair[i] == NULL) {
            if (i != 0) Push(Pair[0]);
            return STATUS_DEVICE_BUSY;
        }
    }
    for (i = 0; i < 2; i++) {
        Pair[i]->Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, BYTES, UI_TAG);
        if (Pair[i]->Buffer == NULL) Status = STATUS_INSUFFICIENT_RESOURCES;
        else RtlFillMemory(Pair[i]->Buffer, BYTES, (UCHAR)i);
    }
    for (i = 0; i < 2; i++) {
        if (Pair[i]->Buffer != NULL) ExFreePoolWithTag(Pair[i]->Buffer, UI_TAG);
        Pair[i]->Buffer = NULL;
        Push(Pair[i]);
    }
    return Status;
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
    ULONG i;

    UNREFERENCED_PARAMETER(RegistryPath);
    InitializeSListHead(&Head);
    KeInitializeSpinLock(&HeadLock);
    for (i = 0; i < NODES; i++) Push(&Nodes[i]);
    return UiStart(Driver, DeviceControl);
}
