/* A cache that is filled from a configuration; both have a lock of their own. */
#include "ui_driver.h"

static FAST_MUTEX ConfigLock;
static FAST_MUTEX CacheLock;
static ULONG Generation;
static ULONG CachedGeneration;

static ULONG Change(VOID)
{
    ULONG Now;

    ExAcquireFastMutex(&ConfigLock);
    Now = ++Generation;
    ExAcquireFastMutex(&CacheLock);
    CachedGeneration = Now;
    ExReleaseFastMutex(&CacheLock);
    ExReleaseFastMutex(&ConfigLock);
    return Now;
}

/* Brings the cache up to date if somebody else changed the configuration. */
static VOID Refresh(ULONG Expected)
{
    ExAcquireFastMutex(&ConfigLock);
    ExAcquireFastMutex(&CacheLock);
    if (CachedGeneration != Expected) CachedGeneration = Generation;
    ExReleaseFastMutex(&CacheLock);
    ExReleaseFastMutex(&ConfigLock);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Refresh(Change());
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&ConfigLock);
    ExInitializeFastMutex(&CacheLock);
    return UiStart(Driver, DeviceControl);
}
