// The handle is kept while the driver is loaded and closed by Unload.
#include <ntddk.h>

static HANDLE Directory;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    ZwClose(Directory);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\UiObjects");
    OBJECT_ATTRIBUTES Attributes;

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    return ZwCreateDirectoryObject(&Directory, DIRECTORY_ALL_ACCESS, &Attributes);
}
