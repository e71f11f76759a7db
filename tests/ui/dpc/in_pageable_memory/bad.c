// The DPC stands in paged pool.
#include <ntddk.h>

static ULONG Ticks;

static VOID Deferred(PKDPC Object, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    Ticks++;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    KDPC *Object;
    LARGE_INTEGER Due;

    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(RegistryPath);
    Due.QuadPart = -20000;
    Object = ExAllocatePoolWithTag(PagedPool, sizeof(*Object), 'tseT');
    if (!Object) return STATUS_INSUFFICIENT_RESOURCES;
    KeInitializeDpc(Object, Deferred, NULL);
    KeInsertQueueDpc(Object, NULL, NULL); //~ dpc::in_pageable_memory
    KeFlushQueuedDpcs();
    Due.QuadPart = Ticks;
    ExFreePoolWithTag(Object, 'tseT');
    return STATUS_SUCCESS;
}
