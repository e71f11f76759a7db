// The driver answers what it is asked about its file, and refuses the rest.
#include "ui_driver.h"

static NTSTATUS Query(PIRP Irp)
{
    PIO_STACK_LOCATION At = IoGetCurrentIrpStackLocation(Irp);
    PFILE_STANDARD_INFORMATION Answer = Irp->AssociatedIrp.SystemBuffer;

    if (At->Parameters.QueryFile.FileInformationClass != FileStandardInformation) {
        return UiComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    }
    if (At->Parameters.QueryFile.Length < sizeof(*Answer)) {
        return UiComplete(Irp, STATUS_INFO_LENGTH_MISMATCH, 0);
    }
    RtlZeroMemory(Answer, sizeof(*Answer));
    Answer->NumberOfLinks = 1;
    return UiComplete(Irp, STATUS_SUCCESS, sizeof(*Answer));
}

static NTSTATUS Dispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    switch (IoGetCurrentIrpStackLocation(Irp)->MajorFunction) {
    case IRP_MJ_CREATE:
    case IRP_MJ_CLEANUP:
    case IRP_MJ_CLOSE:
        return UiComplete(Irp, STATUS_SUCCESS, 0);
    case IRP_MJ_READ:
    case IRP_MJ_WRITE:
    case IRP_MJ_DEVICE_CONTROL:
        return UiComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    case IRP_MJ_QUERY_INFORMATION:
        return Query(Irp);
    }
    return UiComplete(Irp, STATUS_NOT_SUPPORTED, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;
    ULONG Major;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = UiStart(Driver, Dispatch);
    if (!NT_SUCCESS(Status)) return Status;
    for (Major = 0; Major <= IRP_MJ_MAXIMUM_FUNCTION; Major++) {
        Driver->MajorFunction[Major] = Dispatch;
    }
    return STATUS_SUCCESS;
}
