// Look-ups and references that fail take nothing; what a look-up found is given back at once.
#include <ntifs.h>

static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PEPROCESS Process;
    PVOID Object;

    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = Unload;
    if (NT_SUCCESS(PsLookupProcessByProcessId((HANDLE)0x12345674, &Process))) {
        ObDereferenceObject(Process);
    }
    if (NT_SUCCESS(PsLookupProcessByProcessId(PsGetCurrentProcessId(), &Process))) {
        ObDereferenceObject(Process);
    }
    if (NT_SUCCESS(ObReferenceObjectByHandle((HANDLE)(ULONG_PTR)0x7777770, 0, NULL, KernelMode,
                                             &Object, NULL))) {
        ObDereferenceObject(Object);
    }
    return STATUS_SUCCESS;
}
