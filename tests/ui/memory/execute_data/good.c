// The driver calls a routine.
#include <ntddk.h>

typedef VOID (*PROUTINE)(VOID);

static __declspec(noinline) VOID Routine(VOID)
{
    DbgPrint("called\n");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    volatile UCHAR Code[16] = {0xC3};
    PROUTINE volatile Target;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Target = Code[0] ? Routine : NULL;
    Target();
    Routine();
    return STATUS_SUCCESS;
}
