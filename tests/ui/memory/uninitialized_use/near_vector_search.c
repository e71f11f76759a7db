// A search reads sixteen bytes at a time and looks only at those that are text.
#include "ui_driver.h"

#include <emmintrin.h>

static ULONG Length(PCSTR Text)
{
    __m128i Zero = _mm_setzero_si128();
    ULONG Mask = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128((const __m128i *)Text), Zero));
    ULONG Index = 0;

    // Whatever follows the terminator, the first bit is that of the terminator.
    while (!(Mask >> Index & 1)) Index++;
    return Index;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PCHAR Text = ExAllocatePoolWithTag(NonPagedPoolNx, 16, UI_TAG);
    ULONG Result;

    UNREFERENCED_PARAMETER(Device);
    if (!Text) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Text[0] = 'a';
    Text[1] = 'b';
    Text[2] = 0;
    Result = Length(Text);
    ExFreePoolWithTag(Text, UI_TAG);
    return UiComplete(Irp, Result == 2 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return UiStart(Driver, DeviceControl);
}
