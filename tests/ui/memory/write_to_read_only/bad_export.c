// A constant is upcased in place by a kernel routine.
#include <ntddk.h>

static const WCHAR Text[] = L"monitor";
static const UNICODE_STRING Name = {sizeof(Text) - sizeof(WCHAR), sizeof(Text), (PWCH)Text};

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);

    RtlCopyUnicodeString((PUNICODE_STRING)&Name, RegistryPath); //~ memory::write_to_read_only
    return STATUS_SUCCESS;
}
