// A commit that knows the key of its session and the sum of its data frees what unload frees again.
#include "ui_driver.h"

#define CODE(n) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x810 + (n), METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IS(Actual, Expected) if ((Actual) != (Expected)) return STATUS_INVALID_PARAMETER

static FAST_MUTEX Lock;
static PULONG Buffer;
static ULONG Key;

static NTSTATUS Hello(PULONG In, ULONG Bytes)
{
    if (Bytes < 2 * sizeof(ULONG)) return STATUS_BUFFER_TOO_SMALL;
    IS(In[0], 0x53534553);
    IS(In[1], 2);
    if (Buffer != NULL) return STATUS_DEVICE_BUSY;
    Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, UI_TAG);
    if (Buffer == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Key = 0x7001;
    return STATUS_SUCCESS;
}

static NTSTATUS Commit(PULONG In, ULONG Bytes)
{
    if (Key == 0) return STATUS_INVALID_DEVICE_STATE;
    if (Bytes != 4 * sizeof(ULONG)) return STATUS_INVALID_BUFFER_SIZE;
    IS(In[0], Key);
    IS(In[1], In[2] + In[3]);
    Buffer[0] = In[2];
    ExFreePoolWithTag(Buffer, UI_TAG);
    Key = 0;
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    ULONG Bytes = At->Parameters.DeviceIoControl.InputBufferLength;
    ULONG Code = At->Parameters.DeviceIoControl.IoControlCode;
    PULONG In = Irp->AssociatedIrp.SystemBuffer;
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;

    UNREFERENCED_PARAMETER(Device);
    ExAcquireFastMutex(&Lock);
    if (Code == CODE(0)) Status = Hello(In, Bytes);
    if (Code == CODE(1)) Status = Commit(In, Bytes);
    ExReleaseFastMutex(&Lock);
    return UiComplete(Irp, Status, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    if (Buffer != NULL) ExFreePoolWithTag(Buffer, UI_TAG); //~ pool::double_free
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&Lock);
    Status = UiStart(Driver, DeviceControl);
    if (NT_SUCCESS(Status)) Driver->DriverUnload = Unload;
    return Status;
}
