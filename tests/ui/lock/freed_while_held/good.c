// The lock is released first.
#include <ntddk.h>

typedef struct _ENTRY {
    EX_PUSH_LOCK Lock;
    ULONG Users;
} ENTRY;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ENTRY *Entry = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Entry), 'yrtE');
    BOOLEAN IsLast;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (Entry == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    ExInitializePushLock(&Entry->Lock);
    KeEnterCriticalRegion();
    ExAcquirePushLockExclusive(&Entry->Lock);
    IsLast = Entry->Users == 0;
    ExReleasePushLockExclusive(&Entry->Lock);
    if (IsLast) ExFreePoolWithTag(Entry, 'yrtE');
    KeLeaveCriticalRegion();
    return STATUS_SUCCESS;
}
