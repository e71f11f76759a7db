// Three references to one object, taken and given back by different routines in another order.
#include <ntddk.h>

NTKERNELAPI VOID ObDereferenceObjectDeferDelete(PVOID Object);

static PVOID First, Second;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    ObDereferenceObjectDeferDelete(First);
    ObDereferenceObject(Second);
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
    Status = ObReferenceObjectByHandle(Directory, DIRECTORY_QUERY, NULL, KernelMode, &First, NULL);
    ZwClose(Directory);
    if (!NT_SUCCESS(Status)) return Status;
    ObReferenceObject(First);
    ObReferenceObject(First);
    Second = First;
    ObDereferenceObject(First);
    return STATUS_SUCCESS;
}
