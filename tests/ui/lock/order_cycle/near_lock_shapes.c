/* Legal lock shapes: by address, by try, hand over hand, released in the order of acquisition,
   reader-writer spin locks, queued spin locks, one gate above two orders. */
#include "ui_driver.h"

#define CODE(n) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x880 + (n), METHOD_BUFFERED, FILE_ANY_ACCESS)
#define ACCOUNTS 4

typedef struct _ACCOUNT {
    KSPIN_LOCK Lock;
    LONG Balance;
} ACCOUNT, *PACCOUNT;

typedef struct _NODE {
    struct _NODE *Next;
    KSPIN_LOCK Lock;
    ULONG Value;
} NODE, *PNODE;

static ACCOUNT Accounts[ACCOUNTS];
static NODE Chain[3];
static FAST_MUTEX Gate, Left, Right;
static FAST_MUTEX Front, Back;
static EX_SPIN_LOCK TableLock;
static ULONG Table[4];
static KSPIN_LOCK QueuedLock;
static ULONG QueuedCount, LeftCount, RightCount, FrontCount, BackCount;

static NTSTATUS Transfer(ULONG From, ULONG To, LONG Amount)
{
    PACCOUNT First, Second;
    KIRQL OldIrql;

    if (From >= ACCOUNTS || To >= ACCOUNTS || From == To) return STATUS_INVALID_PARAMETER;
    First = &Accounts[min(From, To)];
    Second = &Accounts[max(From, To)];
    KeAcquireSpinLock(&First->Lock, &OldIrql);
    KeAcquireSpinLockAtDpcLevel(&Second->Lock);
    Accounts[From].Balance -= Amount;
    Accounts[To].Balance += Amount;
    KeReleaseSpinLockFromDpcLevel(&First->Lock); /* in the order of acquisition */
    KeReleaseSpinLock(&Second->Lock, OldIrql);
    return STATUS_SUCCESS;
}

/* The next node's lock is taken before this one's is given back. */
static ULONG Walk(VOID)
{
    PNODE Node = &Chain[0];
    ULONG Sum = 0;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Node->Lock, &OldIrql);
    for (;;) {
        PNODE Next = Node->Next;

        Sum += Node->Value++;
        if (Next == NULL) break;
        KeAcquireSpinLockAtDpcLevel(&Next->Lock);
        KeReleaseSpinLockFromDpcLevel(&Node->Lock);
        Node = Next;
    }
    KeReleaseSpinLock(&Node->Lock, OldIrql);
    return Sum;
}

/* Two orders, but never at once: the gate is held around both. */
static VOID Gated(BOOLEAN LeftFirst)
{
    PFAST_MUTEX First = LeftFirst ? &Left : &Right;
    PFAST_MUTEX Second = LeftFirst ? &Right : &Left;

    ExAcquireFastMutex(&Gate);
    ExAcquireFastMutex(First);
    ExAcquireFastMutex(Second);
    LeftCount++;
    RightCount++;
    ExReleaseFastMutex(Second);
    ExReleaseFastMutex(First);
    ExReleaseFastMutex(&Gate);
}

static VOID FrontThenBack(VOID)
{
    ExAcquireFastMutex(&Front);
    FrontCount++;
    ExAcquireFastMutex(&Back);
    BackCount++;
    ExReleaseFastMutex(&Back);
    ExReleaseFastMutex(&Front);
}

/* The other order only tries, and goes back when it fails. */
static VOID BackThenFront(VOID)
{
    LARGE_INTEGER Pause;

    Pause.QuadPart = -10000;
    for (;;) {
        ExAcquireFastMutex(&Back);
        if (ExTryToAcquireFastMutex(&Front)) break;
        ExReleaseFastMutex(&Back);
        KeDelayExecutionThread(KernelMode, FALSE, &Pause);
    }
    BackCount++;
    FrontCount++;
    ExReleaseFastMutex(&Front);
    ExReleaseFastMutex(&Back);
}

static ULONG ReadTable(VOID)
{
    KIRQL OldIrql = ExAcquireSpinLockShared(&TableLock);
    ULONG Sum = Table[0] + Table[1] + Table[2] + Table[3];

    ExReleaseSpinLockShared(&TableLock, OldIrql);
    return Sum;
}

static VOID WriteTable(ULONG Value)
{
    KIRQL OldIrql = ExAcquireSpinLockExclusive(&TableLock);

    Table[Value % 4] = Value;
    ExReleaseSpinLockExclusive(&TableLock, OldIrql);
}

static ULONG CountQueued(VOID)
{
    KLOCK_QUEUE_HANDLE Handle;
    ULONG Count;

    KeAcquireInStackQueuedSpinLock(&QueuedLock, &Handle);
    Count = ++QueuedCount;
    KeReleaseInStackQueuedSpinLock(&Handle);
    return Count;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    PULONG Values = Irp->AssociatedIrp.SystemBuffer;
    ULONG In = Stack->Parameters.DeviceIoControl.InputBufferLength / sizeof(ULONG);
    BOOLEAN HasRoom = Stack->Parameters.DeviceIoControl.OutputBufferLength >= sizeof(ULONG);
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG Answer = 0;

    UNREFERENCED_PARAMETER(Device);
    switch (Stack->Parameters.DeviceIoControl.IoControlCode) {
    case CODE(0):
        Status = STATUS_INVALID_PARAMETER;
        if (In >= 3) Status = Transfer(Values[0], Values[1], (LONG)Values[2]);
        break;
    case CODE(1): Answer = Walk(); break;
    case CODE(2): Gated(TRUE); break;
    case CODE(3): Gated(FALSE); break;
    case CODE(4): FrontThenBack(); break;
    case CODE(5): BackThenFront(); break;
    case CODE(6): Answer = ReadTable(); break;
    case CODE(7): WriteTable(In > 0 ? Values[0] : 7); break;
    case CODE(8): Answer = CountQueued(); break;
    default: Status = STATUS_INVALID_DEVICE_REQUEST;
    }
    if (!NT_SUCCESS(Status) || !HasRoom) return UiComplete(Irp, Status, 0);
    Values[0] = Answer;
    return UiComplete(Irp, Status, sizeof(ULONG));
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ULONG i;

    UNREFERENCED_PARAMETER(RegistryPath);
    for (i = 0; i < ACCOUNTS; i++) KeInitializeSpinLock(&Accounts[i].Lock);
    for (i = 0; i < 3; i++) {
        KeInitializeSpinLock(&Chain[i].Lock);
        Chain[i].Next = i < 2 ? &Chain[i + 1] : NULL;
    }
    ExInitializeFastMutex(&Gate);
    ExInitializeFastMutex(&Left);
    ExInitializeFastMutex(&Right);
    ExInitializeFastMutex(&Front);
    ExInitializeFastMutex(&Back);
    KeInitializeSpinLock(&QueuedLock);
    return UiStart(Driver, DeviceControl);
}
