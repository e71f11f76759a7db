// The block is freed while the timer is set.
#include <ntddk.h>

typedef struct _STATE {
    KTIMER Timer;
    KDPC Dpc;
    ULONG Ticks;
} STATE;

static VOID Deferred(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    ((STATE *)Context)->Ticks++;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    STATE *State;
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    State = ExAllocatePoolWithTag(NonPagedPool, sizeof(STATE), 'tseT');
    if (!State) return STATUS_INSUFFICIENT_RESOURCES;
    RtlZeroMemory(State, sizeof(STATE));
    KeInitializeDpc(&State->Dpc, Deferred, State);
    KeInitializeTimer(&State->Timer);
    Due.QuadPart = -20000;
    KeSetTimer(&State->Timer, Due, &State->Dpc); //~ NOTE: the timer was set here
    ExFreePoolWithTag(State, 'tseT'); //~ timer::gone_while_set
    return STATUS_SUCCESS;
}
