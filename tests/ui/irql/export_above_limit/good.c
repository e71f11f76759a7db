// A handle is closed after the spin lock was released.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device");
    OBJECT_ATTRIBUTES Attributes;
    HANDLE Directory;
    NTSTATUS Status;
    KSPIN_LOCK Lock;
    KIRQL OldIrql;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    KeInitializeSpinLock(&Lock);
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    Status = ZwOpenDirectoryObject(&Directory, DIRECTORY_QUERY, &Attributes);
    if (!NT_SUCCESS(Status)) return Status;
    KeAcquireSpinLock(&Lock, &OldIrql);
    KeReleaseSpinLock(&Lock, OldIrql);
    ZwClose(Directory);
    return STATUS_SUCCESS;
}
