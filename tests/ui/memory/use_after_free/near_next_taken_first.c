// The loop takes the link before it frees the entry; the last one is freed by Unload.
#include <ntddk.h>

typedef struct _ITEM {
    SINGLE_LIST_ENTRY Link;
    ULONG Number;
} ITEM, *PITEM;

static SINGLE_LIST_ENTRY Head;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    PSINGLE_LIST_ENTRY Entry, Next;

    UNREFERENCED_PARAMETER(Driver);
    for (Entry = Head.Next; Entry; Entry = Next) {
        Next = Entry->Next;
        ExFreePoolWithTag(CONTAINING_RECORD(Entry, ITEM, Link), 'tseT');
    }
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PITEM Item;
    ULONG i;

    UNREFERENCED_PARAMETER(RegistryPath);
    for (i = 0; i < 5; i++) {
        Item = ExAllocatePoolWithTag(PagedPool, sizeof(ITEM), 'tseT');
        if (!Item) break;
        Item->Number = i;
        PushEntryList(&Head, &Item->Link);
    }
    if (Head.Next) ExFreePoolWithTag(CONTAINING_RECORD(PopEntryList(&Head), ITEM, Link), 'tseT');
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
