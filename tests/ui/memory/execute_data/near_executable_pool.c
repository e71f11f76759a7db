// NonPagedPool and POOL_FLAG_NON_PAGED_EXECUTE hold code that is run, changed and run again.
#include <ntddk.h>

typedef ULONG (*PROUTINE)(VOID);

static ULONG RunIn(PUCHAR Code)
{
    static const UCHAR Bytes[] = {0xB8, 1, 0, 0, 0, 0xC3}; /* mov eax, 1; ret */
    ULONG Sum;

    if (!Code) return 3;
    RtlCopyMemory(Code, Bytes, sizeof(Bytes));
    Sum = ((PROUTINE)(ULONG_PTR)Code)();
    ((volatile UCHAR *)Code)[1] = 2;
    Sum += ((PROUTINE)(ULONG_PTR)Code)();
    ExFreePoolWithTag(Code, 'tseT');
    return Sum;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    ULONG Sum;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Sum = RunIn(ExAllocatePoolWithTag(NonPagedPool, 16, 'tseT'));
    Sum += RunIn(ExAllocatePool2(POOL_FLAG_NON_PAGED_EXECUTE, 16, 'tseT'));
    return Sum == 6 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
