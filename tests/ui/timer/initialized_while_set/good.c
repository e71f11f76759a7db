// A timer that is set may be set again.
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
    KeSetTimer(&State->Timer, Due, NULL);
    KeSetTimer(&State->Timer, Due, NULL);
    KeWaitForSingleObject(&State->Timer, Executive, KernelMode, FALSE, NULL);
    ExFreePoolWithTag(State, 'tseT');
    return STATUS_SUCCESS;
}
