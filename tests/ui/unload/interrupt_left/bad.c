// Unload forgets the interrupt.
#include <ntddk.h>

static PKINTERRUPT Interrupt;

static BOOLEAN Isr(PKINTERRUPT Object, PVOID Context)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    return FALSE;
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    return IoConnectInterrupt( //~ unload::interrupt_left
        &Interrupt, Isr, NULL, NULL, 0x51, 5, 5, LevelSensitive, TRUE, 1, FALSE);
}
