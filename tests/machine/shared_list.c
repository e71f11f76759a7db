/* Every request walks, grows and shrinks one list under one spin lock, many times. */
#include "ui_driver.h"

#define ROUNDS 5000
#define LENGTH 8

typedef struct _NODE {
    LIST_ENTRY Link;
    ULONG64 Value;
} NODE;

static KSPIN_LOCK Lock;
static LIST_ENTRY List;

static ULONG64 Round(NODE *Node)
{
    ULONG64 Sum = 0;
    PLIST_ENTRY Entry;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Lock, &OldIrql);
    InsertHeadList(&List, &Node->Link);
    for (Entry = List.Flink; Entry != &List; Entry = Entry->Flink)
        Sum += CONTAINING_RECORD(Entry, NODE, Link)->Value++;
    RemoveEntryList(&Node->Link);
    KeReleaseSpinLock(&Lock, OldIrql);
    return Sum;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    NODE Node = {0};
    ULONG64 Sum = 0;
    ULONG i, j;

    UNREFERENCED_PARAMETER(Device);
    for (i = 0; i < ROUNDS; i++) {
        /* Work of its own between two turns with the list. */
        for (j = 0; j < 64; j++) Sum = Sum * 31 + (Sum >> 7) + j;
        Sum += Round(&Node);
    }
    return UiComplete(Irp, Sum ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
}

static NODE Nodes[LENGTH];

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ULONG i;

    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    InitializeListHead(&List);
    for (i = 0; i < LENGTH; i++) InsertTailList(&List, &Nodes[i].Link);
    return UiStart(Driver, DeviceControl);
}
