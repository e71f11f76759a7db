// Counted strings have no terminator: the last character is read, and nothing behind it.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Copy;
    USHORT i;

    UNREFERENCED_PARAMETER(Driver);

    Copy.Length = Copy.MaximumLength = RegistryPath->Length;
    Copy.Buffer = ExAllocatePoolWithTag(PagedPool, Copy.Length, 'tseT');
    if (!Copy.Buffer) return STATUS_INSUFFICIENT_RESOURCES;
    RtlCopyUnicodeString(&Copy, RegistryPath);
    for (i = 0; i < Copy.Length / sizeof(WCHAR); i++) {
        if (Copy.Buffer[i] == L'\\') ((volatile WCHAR *)Copy.Buffer)[i] = L'/';
    }
    DbgPrint("%wZ %d\n", &Copy, RtlEqualUnicodeString(&Copy, RegistryPath, TRUE));
    ExFreePoolWithTag(Copy.Buffer, 'tseT');
    return STATUS_SUCCESS;
}
