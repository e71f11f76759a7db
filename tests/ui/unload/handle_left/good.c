// The directory that DriverEntry opened is closed.
#include <ntddk.h>

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device");
    OBJECT_ATTRIBUTES Attributes;
    HANDLE Directory;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    InitializeObjectAttributes(
        &Attributes, &Name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    Status = ZwOpenDirectoryObject(&Directory, DIRECTORY_QUERY, &Attributes);
    if (!NT_SUCCESS(Status)) return Status;
    ZwClose(Directory);
    return STATUS_SUCCESS;
}
