// Two blocks change their names in the middle; each is freed once.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PVOID Old, New, Other;
    ULONG Length;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Old = ExAllocatePoolWithTag(PagedPool, 16, 'tseT');
    if (!Old) return STATUS_INSUFFICIENT_RESOURCES;
    RtlZeroMemory(Old, 16);
    for (Length = 32; Length <= 4096; Length *= 2) {
        New = ExAllocatePoolWithTag(PagedPool, Length, 'tseT');
        if (!New) break;
        RtlZeroMemory(New, Length);
        RtlCopyMemory(New, Old, Length / 2);
        Other = Old;
        Old = New;
        ExFreePoolWithTag(Other, 'tseT');
    }
    ExFreePoolWithTag(Old, 'tseT');
    return STATUS_SUCCESS;
}
