//@depth: 2
//@expect: pool::leaked_at_unload, pool::double_free, bug_check::raised, memory::use_after_free
//@bug: A pop compares the head alone; a node that was away and is back hides the change below it.
/* Each request takes two of six nodes from a lock-free stack and hangs a buffer on each. */
#include "ui_driver.h"

#define NODES 6
#define BYTES 64

typedef struct DECLSPEC_ALIGN(16) _NODE {
    struct _NODE *Next;
    PVOID Buffer;
} NODE;

static NODE Nodes[NODES];
static NODE *volatile Head;

static VOID Push(NODE *Node)
{
    NODE *Old;

    do {
        Old = Head;
        Node->Next = Old;
    } while (InterlockedCompareExchangePointer((PVOID volatile *)&Head, Node, Old) != Old);
}

static NODE *Pop(VOID)
{
    NODE *Old;
    NODE *Next;

    do {
        Old = Head;
        if (Old == NULL) return NULL;
        Next = *(NODE *volatile *)&Old->Next;
    } while (InterlockedCompareExchangePointer((PVOID volatile *)&Head, Next, Old) != Old);
    return Old;
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
    for (i = 0; i < NODES; i++) Push(&Nodes[i]);
    return UiStart(Driver, DeviceControl);
}
