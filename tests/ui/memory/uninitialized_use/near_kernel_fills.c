// Structures on the stack that the kernel fills, and blocks that it fills, are used afterwards.
#include "ui_driver.h"

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Now, Ticks;
    RTL_OSVERSIONINFOW Version;
    UNICODE_STRING Text;
    WCHAR Buffer[16];
    ULONG Value;
    KEVENT Event;
    KIRQL Irql;
    KSPIN_LOCK Lock;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Device);
    KeQuerySystemTime(&Now);
    KeQueryTickCount(&Ticks);
    Version.dwOSVersionInfoSize = sizeof(Version);
    Status = RtlGetVersion(&Version);
    if (!NT_SUCCESS(Status) || Version.dwMajorVersion < 6 || Now.QuadPart == 0) {
        return UiComplete(Irp, STATUS_UNSUCCESSFUL, 0);
    }
    Text.Buffer = Buffer;
    Text.MaximumLength = sizeof(Buffer);
    Status = RtlIntegerToUnicodeString(42, 10, &Text);
    if (NT_SUCCESS(Status)) Status = RtlUnicodeStringToInteger(&Text, 10, &Value);
    if (!NT_SUCCESS(Status) || Value != 42) return UiComplete(Irp, STATUS_UNSUCCESSFUL, 0);
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &Irql);
    KeReleaseSpinLock(&Lock, Irql);
    KeInitializeEvent(&Event, NotificationEvent, TRUE);
    Status = KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
    return UiComplete(Irp, Status, Ticks.QuadPart < 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
