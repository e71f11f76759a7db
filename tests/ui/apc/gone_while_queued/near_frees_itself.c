// The kernel routine frees the block.
#include <ntddk.h>

/* Exported, and declared by no public header. */
NTKERNELAPI VOID NTAPI KeInitializeApc(
    PKAPC Apc, PKTHREAD Thread, ULONG Environment, PVOID Kernel, PVOID Rundown, PVOID Normal,
    KPROCESSOR_MODE Mode, PVOID Context);
NTKERNELAPI BOOLEAN NTAPI KeInsertQueueApc(PKAPC Apc, PVOID First, PVOID Second, LONG Increment);

static ULONG Delivered;

static VOID NTAPI Special(
    PKAPC Apc, PVOID *Normal, PVOID *Context, PVOID *First, PVOID *Second)
{
    UNREFERENCED_PARAMETER(Normal);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    Delivered++;
    ExFreePoolWithTag(Apc, 'tseT');
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PKAPC Apc;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Apc = ExAllocatePoolWithTag(NonPagedPool, sizeof(KAPC), 'tseT');
    if (!Apc) return STATUS_INSUFFICIENT_RESOURCES;
    KeInitializeApc(Apc, KeGetCurrentThread(), 0, Special, NULL, NULL, KernelMode, NULL);
    KeEnterGuardedRegion();
    KeInsertQueueApc(Apc, NULL, NULL, 0);
    KeLeaveGuardedRegion();
    return STATUS_SUCCESS;
}
