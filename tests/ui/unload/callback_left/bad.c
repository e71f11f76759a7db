// Unload gives the callback object back, and forgets the registration.
#include <ntddk.h>

static PCALLBACK_OBJECT Object;
static PVOID Registration;

static VOID Changed(PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    ObDereferenceObject(Object);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Callback\\SetSystemTime");
    OBJECT_ATTRIBUTES Attributes;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    InitializeObjectAttributes(&Attributes, &Name, OBJ_CASE_INSENSITIVE, NULL, NULL);
    Status = ExCreateCallback(&Object, &Attributes, FALSE, TRUE);
    if (!NT_SUCCESS(Status)) return Status;
    Registration = ExRegisterCallback(Object, Changed, NULL); //~ unload::callback_left
    if (!Registration) {
        ObDereferenceObject(Object);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
