// The resource stands in a pageable section of the image.
#include <ntddk.h>

__attribute__((section("PAGEDATA"))) static ERESOURCE Resource = { .ActiveCount = 0 };

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeResourceLite(&Resource);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Resource, TRUE); //~ lock::in_paged_memory
    ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
    ExDeleteResourceLite(&Resource);
    return STATUS_SUCCESS;
}
