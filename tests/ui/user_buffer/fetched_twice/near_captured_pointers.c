/* METHOD_NEITHER as the documentation asks: captured once under SEH, or locked and mapped. */
#include "ui_driver.h"

#define IOCTL_REVERSE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x831, METHOD_NEITHER, FILE_ANY_ACCESS)
#define IOCTL_GATHER CTL_CODE(FILE_DEVICE_UNKNOWN, 0x832, METHOD_NEITHER, FILE_ANY_ACCESS)
#define IOCTL_STAMP CTL_CODE(FILE_DEVICE_UNKNOWN, 0x833, METHOD_NEITHER, FILE_ANY_ACCESS)
#define MAX_BYTES 256

typedef struct _GATHER {
    ULONG Count;
    ULONG Reserved;
    struct {
        ULONGLONG Address;
        ULONG Length;
        ULONG Reserved;
    } Parts[4];
} GATHER, *PGATHER;

static NTSTATUS Reverse(PIO_STACK_LOCATION Stack, PIRP Irp, PULONG_PTR Information)
{
    ULONG Length = Stack->Parameters.DeviceIoControl.InputBufferLength;
    UCHAR Copy[MAX_BYTES];
    ULONG i;

    if (Length == 0 || Length > MAX_BYTES) return STATUS_INVALID_PARAMETER;
    if (Stack->Parameters.DeviceIoControl.OutputBufferLength < Length) {
        return STATUS_BUFFER_TOO_SMALL;
    }
    __try {
        if (Irp->RequestorMode != KernelMode) {
            ProbeForRead(Stack->Parameters.DeviceIoControl.Type3InputBuffer, Length, 1);
            ProbeForWrite(Irp->UserBuffer, Length, 1);
        }
        RtlCopyMemory(Copy, Stack->Parameters.DeviceIoControl.Type3InputBuffer, Length);
        for (i = 0; i < Length; i++) ((PUCHAR)Irp->UserBuffer)[i] = Copy[Length - 1 - i];
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    *Information = Length;
    return STATUS_SUCCESS;
}

/* Pointers inside of a captured structure; the total goes to the output buffer. */
static NTSTATUS Gather(PIO_STACK_LOCATION Stack, PIRP Irp, PULONG_PTR Information)
{
    NTSTATUS Status = STATUS_SUCCESS;
    PUCHAR Block = NULL;
    GATHER Request;
    ULONG Total = 0;
    ULONG i, j;

    if (Stack->Parameters.DeviceIoControl.InputBufferLength < sizeof(Request) ||
        Stack->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG)) {
        return STATUS_INVALID_PARAMETER;
    }
    __try {
        ProbeForRead(
            Stack->Parameters.DeviceIoControl.Type3InputBuffer, sizeof(Request),
            TYPE_ALIGNMENT(ULONG));
        Request = *(volatile GATHER *)Stack->Parameters.DeviceIoControl.Type3InputBuffer;
        if (Request.Count > 4) {
            Status = STATUS_INVALID_PARAMETER;
            __leave;
        }
        for (i = 0; i < Request.Count; i++) {
            PUCHAR Part = (PUCHAR)(ULONG_PTR)Request.Parts[i].Address;
            ULONG Length = Request.Parts[i].Length;

            if (Length == 0) continue;
            ProbeForRead(Part, Length, 1);
            Block = ExAllocatePoolWithQuotaTag(
                (POOL_TYPE)(PagedPool | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE), Length, UI_TAG);
            if (Block == NULL) {
                Status = STATUS_INSUFFICIENT_RESOURCES;
                __leave;
            }
            RtlCopyMemory(Block, Part, Length);
            for (j = 0; j < Length; j++) Total += Block[j];
            ExFreePoolWithTag(Block, UI_TAG);
            Block = NULL;
        }
        ProbeForWrite(Irp->UserBuffer, sizeof(ULONG), TYPE_ALIGNMENT(ULONG));
        *(PULONG)Irp->UserBuffer = Total;
        *Information = sizeof(ULONG);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    if (Block != NULL) ExFreePoolWithTag(Block, UI_TAG);
    return Status;
}

static KSPIN_LOCK StampLock;
static ULONGLONG LastStamp;

/* Writes to the caller's buffer at DISPATCH_LEVEL, through a mapping of locked pages. */
static NTSTATUS Stamp(PIO_STACK_LOCATION Stack, PIRP Irp, PULONG_PTR Information)
{
    PULONGLONG Target;
    KIRQL OldIrql;
    PMDL Mdl;

    if (Stack->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONGLONG) ||
        ((ULONG_PTR)Irp->UserBuffer & (sizeof(ULONGLONG) - 1)) != 0) {
        return STATUS_INVALID_PARAMETER;
    }
    Mdl = IoAllocateMdl(Irp->UserBuffer, sizeof(ULONGLONG), FALSE, FALSE, NULL);
    if (Mdl == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    __try {
        MmProbeAndLockPages(Mdl, Irp->RequestorMode, IoWriteAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        IoFreeMdl(Mdl);
        return GetExceptionCode();
    }
    Target = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority | MdlMappingNoExecute);
    if (Target != NULL) {
        KeAcquireSpinLock(&StampLock, &OldIrql);
        LastStamp += KeQueryInterruptTime() + 1;
        *Target = LastStamp;
        KeReleaseSpinLock(&StampLock, OldIrql);
        *Information = sizeof(ULONGLONG);
    }
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
    return Target != NULL ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;
    ULONG_PTR Information = 0;

    UNREFERENCED_PARAMETER(Device);
    PAGED_CODE();
    switch (Stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_REVERSE: Status = Reverse(Stack, Irp, &Information); break;
    case IOCTL_GATHER: Status = Gather(Stack, Irp, &Information); break;
    case IOCTL_STAMP: Status = Stamp(Stack, Irp, &Information); break;
    }
    return UiComplete(Irp, Status, Information);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    KeInitializeSpinLock(&StampLock);
    return UiStart(Driver, DeviceControl);
}
