// Room for each processor, made when it is told of; Unload unregisters before it frees it.
#include <ntddk.h>

#define TAG 'seTU'
static PVOID Rooms[64];
static PVOID Registration;

static VOID Changed(PVOID Context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change, PNTSTATUS Status)
{
    PVOID *Room = &Rooms[Change->NtNumber];

    UNREFERENCED_PARAMETER(Context);
    if (Change->State == KeProcessorAddStartNotify) {
        *Room = ExAllocatePoolWithTag(NonPagedPoolNx, 64, TAG);
        if (!*Room) *Status = STATUS_INSUFFICIENT_RESOURCES;
    } else if (Change->State == KeProcessorAddFailureNotify) {
        ExFreePoolWithTag(*Room, TAG);
        *Room = NULL;
    }
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    ULONG Index;

    UNREFERENCED_PARAMETER(Driver);
    KeDeregisterProcessorChangeCallback(Registration);
    for (Index = 0; Index < RTL_NUMBER_OF(Rooms); ++Index) {
        if (Rooms[Index]) ExFreePoolWithTag(Rooms[Index], TAG);
    }
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    Registration = KeRegisterProcessorChangeCallback(
        (PPROCESSOR_CALLBACK_FUNCTION)Changed, NULL, KE_PROCESSOR_CHANGE_ADD_EXISTING);
    if (!Registration) return STATUS_INSUFFICIENT_RESOURCES;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
