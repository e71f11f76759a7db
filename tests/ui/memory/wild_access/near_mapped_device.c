// Registers of a device are mapped, read and unmapped.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PHYSICAL_ADDRESS Address;
    PULONG Registers;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Address.QuadPart = 0xFED00000;
    Registers = MmMapIoSpace(Address, 0x400, MmNonCached);
    if (!Registers) return STATUS_INSUFFICIENT_RESOURCES;
    DbgPrint("%08x\n", READ_REGISTER_ULONG(Registers + 1));
    MmUnmapIoSpace(Registers, 0x400);
    return STATUS_SUCCESS;
}
