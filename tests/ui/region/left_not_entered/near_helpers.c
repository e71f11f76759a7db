// One helper enters, another leaves.
#include "ui_driver.h"

static LONG Users;

static __declspec(noinline) VOID Enter(VOID)
{
    KeEnterCriticalRegion();
    InterlockedIncrement(&Users);
}

static __declspec(noinline) VOID Leave(VOID)
{
    InterlockedDecrement(&Users);
    KeLeaveCriticalRegion();
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Enter();
    Enter();
    InterlockedIncrement(&Users);
    Leave();
    Leave();
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
