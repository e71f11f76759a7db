// A string length as vectorised by compilers: aligned 16-byte loads, the last past the block.
#include <ntddk.h>

typedef char VECTOR __attribute__((vector_size(16)));

static __declspec(noinline) SIZE_T Length(const char *Text)
{
    const VECTOR *At = (const VECTOR *)Text;
    const VECTOR Zero = {0};

    for (;; At++) {
        ULONG Mask = (ULONG)__builtin_ia32_pmovmskb128((VECTOR)(*At == Zero));
        if (Mask) return (SIZE_T)((const char *)At - Text) + (SIZE_T)__builtin_ctz(Mask);
    }
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    static const char Words[] = "twenty-one characters";
    PCHAR Text;
    SIZE_T Found;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);

    Text = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(Words), 'tseT');
    if (!Text) return STATUS_INSUFFICIENT_RESOURCES;
    RtlCopyMemory(Text, Words, sizeof(Words));
    Found = Length(Text);
    ExFreePoolWithTag(Text, 'tseT');
    return Found == sizeof(Words) - 1 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
