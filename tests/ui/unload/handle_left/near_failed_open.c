// The open fails; the variable holds a number that is no handle, and there is nothing to close.
#include <ntddk.h>

static HANDLE volatile Kept;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\NoSuchFolder");
    OBJECT_ATTRIBUTES Attributes;
    HANDLE Directory = (HANDLE)0x1234;

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    if (NT_SUCCESS(ZwOpenDirectoryObject(&Directory, DIRECTORY_QUERY, &Attributes))) {
        ZwClose(Directory);
    }
    Kept = Directory;
    return STATUS_SUCCESS;
}
