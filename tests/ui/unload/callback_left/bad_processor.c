// Unload forgets the callback about processors.
#include <ntddk.h>

static ULONG Processors;
static PVOID Registration;

static VOID Changed(PVOID Context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change, PNTSTATUS Status)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Status);
    if (Change->State == KeProcessorAddCompleteNotify) ++Processors;
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    Registration = KeRegisterProcessorChangeCallback( //~ unload::callback_left
        (PPROCESSOR_CALLBACK_FUNCTION)Changed, NULL, KE_PROCESSOR_CHANGE_ADD_EXISTING);
    if (!Registration) return STATUS_INSUFFICIENT_RESOURCES;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
