// Hello, begin, commit: the third request frees the list of the second one before it counts it.
#include "ui_driver.h"

#define CODE(n) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x810 + (n), METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IS(Actual, Expected) if ((Actual) != (Expected)) return STATUS_INVALID_PARAMETER

static FAST_MUTEX Lock;
static PULONG List;
static ULONG State, Count, Total;

static NTSTATUS Hello(PULONG In, ULONG Bytes)
{
    if (State != 0) return STATUS_INVALID_DEVICE_STATE;
    IS(Bytes, 2 * sizeof(ULONG));
    IS(In[0], 0x4f4c4548);
    IS(In[1], 3);
    State = 1;
    return STATUS_SUCCESS;
}

static NTSTATUS Begin(PULONG In, ULONG Bytes)
{
    if (State != 1) return STATUS_INVALID_DEVICE_STATE;
    IS(Bytes, 3 * sizeof(ULONG));
    IS(In[0], 0x4e474542);
    if (In[1] == 0 || In[1] > 8) return STATUS_INVALID_PARAMETER;
    List = ExAllocatePool2(POOL_FLAG_NON_PAGED, In[1] * sizeof(ULONG), UI_TAG);
    if (List == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    Count = In[1];
    State = 2;
    return STATUS_SUCCESS;
}

static NTSTATUS Commit(PULONG In, ULONG Bytes)
{
    if (State != 2) return STATUS_INVALID_DEVICE_STATE;
    IS(Bytes, 5 * sizeof(ULONG));
    IS(In[4], Count + 0x544d4f43);
    State = 0;
    ExFreePoolWithTag(List, UI_TAG);
    Total += List[Count - 1]; //~ memory::use_after_free
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
    if (Code == CODE(1)) Status = Begin(In, Bytes);
    if (Code == CODE(2)) Status = Commit(In, Bytes);
    ExReleaseFastMutex(&Lock);
    return UiComplete(Irp, Status, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    if (State == 2) ExFreePoolWithTag(List, UI_TAG);
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
