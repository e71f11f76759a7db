// The address of a field behind null is computed, and copies of length 0 go there.
#include <ntddk.h>

typedef struct _ITEM {
    ULONG64 Number;
    LIST_ENTRY Link;
} ITEM, *PITEM;

static PITEM volatile Nothing;
static volatile SIZE_T Length;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PLIST_ENTRY Link = &Nothing->Link;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    DbgPrint("offset %p\n", Link);
    RtlCopyMemory(Link, Nothing, Length);
    RtlZeroMemory(Nothing, Length);
    return RtlCompareMemory(Nothing, Link, Length) == 0 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
