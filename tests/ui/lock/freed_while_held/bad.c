// The block is freed with its lock held.
#include <ntddk.h>

typedef struct _ENTRY {
    EX_PUSH_LOCK Lock;
    ULONG Users;
} ENTRY;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ENTRY *Entry = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Entry), 'yrtE');

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (Entry == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    ExInitializePushLock(&Entry->Lock);
    KeEnterCriticalRegion();
    ExAcquirePushLockExclusive(&Entry->Lock); //~ NOTE: acquired
    if (Entry->Users == 0) ExFreePoolWithTag(Entry, 'yrtE'); //~ lock::freed_while_held
    KeLeaveCriticalRegion();
    return STATUS_SUCCESS;
}
