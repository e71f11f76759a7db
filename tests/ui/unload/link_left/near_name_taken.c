// The second link of the same name fails; there is only one to delete.
#include <ntddk.h>

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");

    UNREFERENCED_PARAMETER(Driver);
    IoDeleteSymbolicLink(&Link);
    if (NT_SUCCESS(IoDeleteSymbolicLink(&Link))) DbgPrint("deleted twice\n");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Null");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Ui");
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateSymbolicLink(&Link, &Name);
    if (!NT_SUCCESS(Status)) return Status;
    if (NT_SUCCESS(IoCreateSymbolicLink(&Link, &Name))) DbgPrint("created twice\n");
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
