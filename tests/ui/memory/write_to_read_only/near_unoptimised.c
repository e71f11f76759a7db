// Without optimisation: structures and strings are copied from constants before they change.
//@cflags: -O0
#include <ntddk.h>

typedef struct _LIMITS {
    ULONG Low, High;
    CHAR Name[24];
} LIMITS;

static const LIMITS Defaults = {1, 100, "defaults"};

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LIMITS Limits = Defaults;
    WCHAR Path[] = L"\\Registry\\Machine";
    UNICODE_STRING Name;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Limits.High = 7;
    Limits.Name[0] = 'D';
    RtlInitUnicodeString(&Name, Path);
    Name.Buffer[0] = L'/';
    DbgPrint("%wZ %s %u\n", &Name, Limits.Name, Limits.High);
    return STATUS_SUCCESS;
}
