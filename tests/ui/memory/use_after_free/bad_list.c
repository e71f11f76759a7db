// The loop follows the link of the entry that it has just freed.
#include <ntddk.h>

typedef struct _ITEM {
    struct _ITEM *volatile Next;
} ITEM, *PITEM;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PITEM Head = NULL, Item;
    ULONG i;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    for (i = 0; i < 3; i++) {
        Item = ExAllocatePoolWithTag(PagedPool, sizeof(ITEM), 'tseT');
        if (!Item) break;
        Item->Next = Head;
        Head = Item;
    }
    for (Item = Head; Item;) {
        ExFreePoolWithTag(Item, 'tseT');
        Item = Item->Next; //~ memory::use_after_free
    }
    return STATUS_SUCCESS;
}
