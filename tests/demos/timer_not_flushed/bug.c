//@depth: 1
//@expect: memory::use_after_free, dpc::gone_while_queued, memory::null_dereference
//@bug: Unload cancels the timer and frees what its DPC uses, without waiting for a running DPC.
/* Samples a value every millisecond into a ring, from the first request on. */
#include "ui_driver.h"

#define SAMPLES 32
#define PERIOD_MS 1

typedef struct _SAMPLER {
    KDPC Dpc;
    volatile LONG Next;
    volatile LONG64 Samples[SAMPLES];
} SAMPLER;

static KTIMER Timer;
static SAMPLER *Sampler;

static VOID OnTimer(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    SAMPLER *Self = Context;
    LONG64 Sum = 0;
    ULONG i;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    for (i = 0; i < SAMPLES; i++) Sum += Self->Samples[i];
    i = (ULONG)InterlockedIncrement(&Self->Next) % SAMPLES;
    InterlockedExchange64(&Self->Samples[i], Sum + 1);
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    Due.QuadPart = -10000LL * PERIOD_MS;
    KeSetTimerEx(&Timer, Due, PERIOD_MS, &Sampler->Dpc);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    KeCancelTimer(&Timer);
    ExFreePoolWithTag(Sampler, UI_TAG);
    UiUnload(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Sampler = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(SAMPLER), UI_TAG);
    if (Sampler == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Sampler->Dpc, OnTimer, Sampler);
    Status = UiStart(Driver, DeviceControl);
    if (!NT_SUCCESS(Status)) ExFreePoolWithTag(Sampler, UI_TAG);
    Driver->DriverUnload = Unload;
    return Status;
}
