// Exceptions that kernel routines raise, probes of bad ranges among them, are taken.
#include <ntddk.h>

static volatile ULONG_PTR Bad[] = {0xFFFFF80000000000, 0x7FFFFFFFF000, 0x10001, 0};

static NTSTATUS Probe(ULONG_PTR Address, SIZE_T Length)
{
    __try {
        ProbeForRead((PVOID)Address, Length, sizeof(ULONG));
        ProbeForWrite((PVOID)Address, Length, sizeof(ULONG));
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ULONG i;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    for (i = 0; i < ARRAYSIZE(Bad); i++) {
        DbgPrint("%p: %x\n", (PVOID)Bad[i], Probe(Bad[i], 0x2000));
        if (Probe(Bad[i], 0) != STATUS_SUCCESS) return STATUS_UNSUCCESSFUL;
    }
    __try {
        ExRaiseAccessViolation();
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        DbgPrint("%x\n", GetExceptionCode());
    }
    return STATUS_SUCCESS;
}
