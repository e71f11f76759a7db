/* Measures how long the last processor takes to run a DPC, in ticks of a counter of ours. */
#include "ui_driver.h"

typedef struct _PROBE {
    KDPC Dpc;
    KEVENT Done;
    volatile LONG *Counter;
} PROBE;

static KSPIN_LOCK Lock;
static volatile LONG Probes;

static VOID OnDpc(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    PROBE *Probe = Context;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    InterlockedIncrement(Probe->Counter);
    KeSetEvent(&Probe->Done, IO_NO_INCREMENT, FALSE);
}

static NTSTATUS RunProbe(VOID)
{
    PROBE *Probe = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(PROBE), UI_TAG);
    KIRQL OldIrql;

    if (Probe == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    KeInitializeEvent(&Probe->Done, NotificationEvent, FALSE);
    KeInitializeDpc(&Probe->Dpc, OnDpc, Probe);
    KeSetTargetProcessorDpc(&Probe->Dpc, (CCHAR)(KeQueryActiveProcessorCount(NULL) - 1));
    KeAcquireSpinLock(&Lock, &OldIrql);
    Probe->Counter = &Probes;
    KeInsertQueueDpc(&Probe->Dpc, NULL, NULL);
    KeReleaseSpinLock(&Lock, OldIrql);
    KeWaitForSingleObject(&Probe->Done, Executive, KernelMode, FALSE, NULL);
    /* The event is in the probe: the DPC must have left it. */
    KeFlushQueuedDpcs();
    ExFreePoolWithTag(Probe, UI_TAG);
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);

    UNREFERENCED_PARAMETER(Device);
    if (At->Parameters.DeviceIoControl.IoControlCode != UI_IOCTL(METHOD_BUFFERED)) {
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
    return UiComplete(Irp, RunProbe(), 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    return UiStart(Driver, DeviceControl);
}
