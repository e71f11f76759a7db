// From a list entry in the middle of a block back to its first field, and to the trailing data.
#include <ntddk.h>

typedef struct _ITEM {
    ULONG Kind;
    LIST_ENTRY Link;
    ULONG Length;
    WCHAR Name[ANYSIZE_ARRAY];
} ITEM, *PITEM;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    const ULONG Length = 7;
    LIST_ENTRY Head;
    PITEM Item;
    ULONG i;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    InitializeListHead(&Head);
    /* Smaller than the structure with its padding plus the name. */
    Item = ExAllocatePoolWithTag(
        PagedPool, FIELD_OFFSET(ITEM, Name) + Length * sizeof(WCHAR), 'tseT');
    if (!Item) return STATUS_INSUFFICIENT_RESOURCES;
    Item->Kind = 1;
    Item->Length = Length;
    for (i = 0; i < Length; i++) ((volatile WCHAR *)Item->Name)[i] = L'x';
    InsertTailList(&Head, &Item->Link);

    Item = CONTAINING_RECORD(RemoveHeadList(&Head), ITEM, Link);
    i = Item->Kind + Item->Name[Item->Length - 1];
    ExFreePoolWithTag(Item, 'tseT');
    return i == 1 + L'x' ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
