// One helper returns with the locks held, another one releases them.
#include <ntddk.h>

static KDPC Dpc;
static KSPIN_LOCK Lock;
static FAST_MUTEX Mutex;
static ULONG Waiting;

static __declspec(noinline) VOID Enter(VOID)
{
    ExAcquireFastMutex(&Mutex);
}

static __declspec(noinline) VOID Leave(VOID)
{
    ExReleaseFastMutex(&Mutex);
}

static __declspec(noinline) VOID EnterDpc(VOID)
{
    KeAcquireSpinLockAtDpcLevel(&Lock);
}

static __declspec(noinline) VOID LeaveDpc(VOID)
{
    KeReleaseSpinLockFromDpcLevel(&Lock);
}

static VOID Deferred(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    EnterDpc();
    Waiting++;
    LeaveDpc();
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&Lock);
    KeInitializeDpc(&Dpc, Deferred, NULL);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
    ExInitializeFastMutex(&Mutex);
    Enter();
    Waiting++;
    Leave();
    return STATUS_SUCCESS;
}
