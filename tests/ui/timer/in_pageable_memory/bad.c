// The timer stands in paged pool.
#include <ntddk.h>

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KTIMER *Object;
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Due.QuadPart = -20000;
    Object = ExAllocatePoolWithTag(PagedPool, sizeof(*Object), 'tseT');
    if (!Object) return STATUS_INSUFFICIENT_RESOURCES;
    KeInitializeTimer(Object);
    KeSetTimer(Object, Due, NULL); //~ timer::in_pageable_memory
    KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL);
    ExFreePoolWithTag(Object, 'tseT');
    return STATUS_SUCCESS;
}
