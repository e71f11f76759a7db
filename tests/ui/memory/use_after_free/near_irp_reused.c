// An IRP of the driver's own is filled in, initialised again, and freed once at the end.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PIO_STACK_LOCATION Next;
    PIRP Irp;
    ULONG i;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Irp = IoAllocateIrp(2, FALSE);
    if (!Irp) return STATUS_INSUFFICIENT_RESOURCES;
    for (i = 0; i < 2; i++) {
        Next = IoGetNextIrpStackLocation(Irp);
        Next->MajorFunction = IRP_MJ_READ;
        Next->Parameters.Read.Length = i;
        Irp->IoStatus.Status = STATUS_SUCCESS;
        IoReuseIrp(Irp, STATUS_NOT_SUPPORTED);
    }
    DbgPrint("%x\n", Irp->IoStatus.Status);
    IoFreeIrp(Irp);
    return STATUS_SUCCESS;
}
