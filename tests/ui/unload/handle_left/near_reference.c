// The handle is closed at once; a reference to the object is kept until Unload.
#include <ntddk.h>

static PVOID Object;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    ObDereferenceObject(Object);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device");
    OBJECT_ATTRIBUTES Attributes;
    HANDLE Directory;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    Status = ZwOpenDirectoryObject(&Directory, DIRECTORY_QUERY, &Attributes);
    if (!NT_SUCCESS(Status)) return Status;
    Status = ObReferenceObjectByHandle(
        Directory, DIRECTORY_QUERY, NULL, KernelMode, &Object, NULL);
    ZwClose(Directory);
    return Status;
}
