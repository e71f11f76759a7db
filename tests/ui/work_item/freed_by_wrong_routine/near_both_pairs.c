// One item of each kind; both are queued and given back by the routine of their pair.
#include <ntddk.h>

static PIO_WORKITEM Own, Allocated;
static KEVENT Done;
static volatile LONG Left = 2;

static VOID Work(PDEVICE_OBJECT Device, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Context);
    if (!InterlockedDecrement(&Left)) KeSetEvent(&Done, IO_NO_INCREMENT, FALSE);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    IoUninitializeWorkItem(Own);
    IoFreeWorkItem(Allocated);
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(
        Driver, IoSizeofWorkItem(), NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status)) return Status;
    Allocated = IoAllocateWorkItem(Device);
    if (!Allocated) {
        IoDeleteDevice(Device);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    Own = Device->DeviceExtension;
    IoInitializeWorkItem(Device, Own);
    Driver->DriverUnload = Unload;
    IoQueueWorkItem(Own, Work, DelayedWorkQueue, NULL);
    IoQueueWorkItem(Allocated, Work, CriticalWorkQueue, NULL);
    return STATUS_SUCCESS;
}
