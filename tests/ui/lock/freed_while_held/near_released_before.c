// Locks of a block are used, released, and the block is freed and taken again.
#include <ntddk.h>

typedef struct _ENTRY {
    KSPIN_LOCK Lock;
    KMUTEX Mutex;
} ENTRY;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ENTRY *Entry;
    KIRQL OldIrql;
    ULONG Round;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    for (Round = 0; Round < 3; Round++) {
        Entry = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Entry), 'yrtE');
        if (Entry == NULL) return STATUS_INSUFFICIENT_RESOURCES;
        KeInitializeSpinLock(&Entry->Lock);
        KeInitializeMutex(&Entry->Mutex, 0);
        KeWaitForSingleObject(&Entry->Mutex, Executive, KernelMode, FALSE, NULL);
        KeAcquireSpinLock(&Entry->Lock, &OldIrql);
        KeReleaseSpinLock(&Entry->Lock, OldIrql);
        KeReleaseMutex(&Entry->Mutex, FALSE);
        ExFreePoolWithTag(Entry, 'yrtE');
    }
    return STATUS_SUCCESS;
}
