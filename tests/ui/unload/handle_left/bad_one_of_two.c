// Of two handles only the second is closed.
#include <ntddk.h>

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\??");
    UNICODE_STRING Other = RTL_CONSTANT_STRING(L"\\Device");
    OBJECT_ATTRIBUTES Attributes;
    HANDLE First, Second;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    Status = ZwOpenDirectoryObject(&First, DIRECTORY_QUERY, &Attributes);
    //~^ unload::handle_left
    if (!NT_SUCCESS(Status)) return Status;
    InitializeObjectAttributes(&Attributes, &Other, OBJ_KERNEL_HANDLE, NULL, NULL);
    Status = ZwOpenDirectoryObject(&Second, DIRECTORY_QUERY, &Attributes);
    if (NT_SUCCESS(Status)) ZwClose(Second);
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
