// At DISPATCH_LEVEL: the stack, variables, constants, non-paged pool, the device extension.
#include "ui_driver.h"

static const ULONG Table[] = {3, 1, 4, 1, 5};
static volatile LONG Total;

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    volatile ULONG Local[16];
    KIRQL OldIrql;
    ULONG i;

    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    for (i = 0; i < ARRAYSIZE(Local); i++) Local[i] = ((volatile ULONG *)Table)[i % 5];
    InterlockedExchangeAdd(&Total, (LONG)Local[7]);
    DbgPrint("%s %p\n", "a constant", Device->DriverObject);
    if (Irp->AssociatedIrp.SystemBuffer) InterlockedIncrement(&Total);
    KeLowerIrql(OldIrql);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
