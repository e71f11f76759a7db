// Push locks and run-down protection may stand in paged pool.
#include <ntddk.h>

typedef struct _ENTRY {
    EX_PUSH_LOCK Lock;
    EX_RUNDOWN_REF Rundown;
} ENTRY;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ENTRY *Entry = ExAllocatePool2(POOL_FLAG_PAGED, sizeof(*Entry), 'yrtE');

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (Entry == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    ExInitializePushLock(&Entry->Lock);
    ExInitializeRundownProtection(&Entry->Rundown);
    KeEnterCriticalRegion();
    ExAcquirePushLockExclusive(&Entry->Lock);
    ExReleasePushLockExclusive(&Entry->Lock);
    KeLeaveCriticalRegion();
    if (ExAcquireRundownProtection(&Entry->Rundown)) {
        ExReleaseRundownProtection(&Entry->Rundown);
    }
    ExWaitForRundownProtectionRelease(&Entry->Rundown);
    ExFreePoolWithTag(Entry, 'yrtE');
    return STATUS_SUCCESS;
}
