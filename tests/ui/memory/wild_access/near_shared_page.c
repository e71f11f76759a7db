// The page at FFFFF780'00000000 belongs to nobody in the driver, and every driver may read it.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    LARGE_INTEGER Time, Ticks;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeQuerySystemTime(&Time);
    KeQueryTickCount(&Ticks);
    if (Time.QuadPart == 0 || KeQueryInterruptTime() > (ULONG64)Time.QuadPart) {
        DbgPrint("a machine without a clock\n");
    }
    DbgPrint("NT %u.%u\n", SharedUserData->NtMajorVersion, SharedUserData->NtMinorVersion);
    return STATUS_SUCCESS;
}
