// A lock outside of the block is held while the block is freed.
#include <ntddk.h>

typedef struct _ENTRY {
    EX_PUSH_LOCK Lock;
    ULONG Users;
} ENTRY;

static FAST_MUTEX Global;

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ENTRY *Entry = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Entry), 'yrtE');

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (Entry == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    ExInitializePushLock(&Entry->Lock);
    ExInitializeFastMutex(&Global);
    ExAcquireFastMutex(&Global);
    ExAcquirePushLockExclusive(&Entry->Lock);
    ExReleasePushLockExclusive(&Entry->Lock);
    ExFreePoolWithTag(Entry, 'yrtE');
    ExReleaseFastMutex(&Global);
    return STATUS_SUCCESS;
}
