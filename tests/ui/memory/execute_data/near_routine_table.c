// Pointers to routines lie in data, on the stack and in pool; the calls go to code.
#include <ntddk.h>

typedef ULONG (*PROUTINE)(ULONG);

static ULONG Double(ULONG Value) { return Value * 2; }
static ULONG Square(ULONG Value) { return Value * Value; }

static PROUTINE volatile Table[] = {Double, Square};

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PROUTINE volatile Local = Table[0];
    PROUTINE volatile *Block;
    ULONG Value;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Block = ExAllocatePoolWithTag(PagedPool, sizeof(PROUTINE), 'tseT');
    if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
    *Block = Table[1];
    Value = (*Block)(Local(3));
    ExFreePoolWithTag((PVOID)Block, 'tseT');
    return Value == 36 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
