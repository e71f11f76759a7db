// Each level is restored in order.
#include <ntddk.h>

/* The exported routines; the macros of this kit expand to a move to CR8. */
extern KIRQL (NTAPI *Raise)(KIRQL NewIrql) __asm__("__imp_KfRaiseIrql");
extern VOID (NTAPI *Lower)(KIRQL NewIrql) __asm__("__imp_KeLowerIrql");

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KIRQL OldIrql, Middle;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    OldIrql = Raise(APC_LEVEL);
    Middle = Raise(DISPATCH_LEVEL);
    Lower(Middle);
    Lower(OldIrql);
    return STATUS_SUCCESS;
}
