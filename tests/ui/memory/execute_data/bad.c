// The driver calls a return instruction that it stored in an array on its stack.
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

    Target = (PROUTINE)(ULONG_PTR)Code;
    Target(); //~ memory::execute_data
    Routine();
    return STATUS_SUCCESS;
}
