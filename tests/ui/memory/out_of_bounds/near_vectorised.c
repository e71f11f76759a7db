// Loops over blocks of every length, turned into vector code by the compiler.
//@cflags: -O3
#include <ntddk.h>

static __declspec(noinline) ULONG Sum(const UCHAR *Bytes, ULONG Length)
{
    ULONG i, Result = 0;

    for (i = 0; i < Length; i++) Result += Bytes[i];
    return Result;
}

static __declspec(noinline) VOID Invert(PUCHAR Bytes, ULONG Length)
{
    ULONG i;

    for (i = 0; i < Length; i++) Bytes[i] ^= 0xFF;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    PUCHAR Block;
    ULONG Length;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    for (Length = 1; Length < 70; Length++) {
        Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, Length, 'tseT');
        if (!Block) return STATUS_INSUFFICIENT_RESOURCES;
        Invert(Block, Length);
        if (Sum(Block, Length) != Length * 0xFF) DbgPrint("wrong at %u\n", Length);
        ExFreePoolWithTag(Block, 'tseT');
    }
    return STATUS_SUCCESS;
}
