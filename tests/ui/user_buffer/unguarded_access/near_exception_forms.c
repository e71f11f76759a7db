/* Structured exceptions in the forms that drivers use: finally with a lock, filters that decide,
   nested blocks, raised statuses, helpers that touch user memory for a guarded caller. */
#include "ui_driver.h"

#define CODE(n) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x8D0 + (n) * 3, METHOD_NEITHER, FILE_ANY_ACCESS)
#define MAX_NAME 32

static FAST_MUTEX NameMutex;
static CHAR Name[MAX_NAME];
static ULONG NameLength;
static volatile LONG Failures;

/* May raise; its callers are ready for that. */
static ULONG CopyIn(PVOID Target, const VOID *Source, ULONG Length)
{
    ProbeForRead((PVOID)Source, Length, 1);
    RtlCopyMemory(Target, Source, Length);
    return Length;
}

/* Length in characters of a zero-terminated string from user mode, captured on the way. */
static ULONG CaptureString(PCHAR Target, const CHAR *Source, ULONG Limit)
{
    ULONG i;

    ProbeForRead((PVOID)Source, 1, 1);
    for (i = 0; i < Limit; i++) {
        CHAR One;

        if ((ULONG_PTR)(Source + i) >= (ULONG_PTR)MmUserProbeAddress) ExRaiseAccessViolation();
        One = *(const volatile CHAR *)(Source + i);
        Target[i] = One;
        if (One == 0) return i;
    }
    ExRaiseStatus(STATUS_NAME_TOO_LONG);
}

static LONG Decide(NTSTATUS Code)
{
    if (Code == STATUS_GUARD_PAGE_VIOLATION) return EXCEPTION_CONTINUE_SEARCH;
    InterlockedIncrement(&Failures);
    return EXCEPTION_EXECUTE_HANDLER;
}

static NTSTATUS SetName(const VOID *Source, ULONG Length)
{
    NTSTATUS Status = STATUS_SUCCESS;

    if (Length == 0 || Length > MAX_NAME) return STATUS_INVALID_PARAMETER;
    __try {
        CHAR Copy[MAX_NAME];

        CopyIn(Copy, Source, Length);
        ExAcquireFastMutex(&NameMutex);
        __try {
            ULONG i;

            for (i = 0; i < Length; i++) {
                if (Copy[i] == 0) ExRaiseStatus(STATUS_OBJECT_NAME_INVALID);
            }
            RtlCopyMemory(Name, Copy, Length);
            NameLength = Length;
        } __finally {
            ExReleaseFastMutex(&NameMutex);
        }
    } __except (Decide(GetExceptionCode())) {
        Status = GetExceptionCode();
    }
    return Status;
}

static NTSTATUS SetString(const CHAR *Source)
{
    CHAR Copy[MAX_NAME];
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG Length = 0;

    __try {
        Length = CaptureString(Copy, Source, MAX_NAME);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    if (!NT_SUCCESS(Status)) return Status;
    ExAcquireFastMutex(&NameMutex);
    RtlCopyMemory(Name, Copy, Length);
    NameLength = Length;
    ExReleaseFastMutex(&NameMutex);
    return STATUS_SUCCESS;
}

/* Copies the name out; what cannot be written is reported, and the lock not held meanwhile. */
static NTSTATUS GetName(PVOID Target, ULONG Room, PULONG_PTR Information)
{
    CHAR Copy[MAX_NAME];
    ULONG Length;

    ExAcquireFastMutex(&NameMutex);
    Length = NameLength;
    RtlCopyMemory(Copy, Name, Length);
    ExReleaseFastMutex(&NameMutex);
    if (Room < Length) return STATUS_BUFFER_TOO_SMALL;
    __try {
        __try {
            ProbeForWrite(Target, Length, 1);
            RtlCopyMemory(Target, Copy, Length);
        } __finally {
            if (AbnormalTermination()) InterlockedIncrement(&Failures);
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    *Information = Length;
    return STATUS_SUCCESS;
}

/* Polls a flag of the caller's: every read is a new value by intention. */
static NTSTATUS WaitFlag(volatile LONG *Flag, ULONG Length)
{
    LARGE_INTEGER Pause;
    ULONG Tries;

    if (Length < sizeof(*Flag)) return STATUS_INVALID_PARAMETER;
    Pause.QuadPart = -10000;
    for (Tries = 0; Tries < 3; Tries++) {
        LONG Value;

        __try {
            ProbeForRead((PVOID)Flag, sizeof(*Flag), sizeof(*Flag));
            Value = *Flag;
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            return GetExceptionCode();
        }
        if (Value != 0) return STATUS_SUCCESS;
        KeDelayExecutionThread(KernelMode, FALSE, &Pause);
    }
    return STATUS_IO_TIMEOUT;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    PVOID In = Stack->Parameters.DeviceIoControl.Type3InputBuffer;
    ULONG InLength = Stack->Parameters.DeviceIoControl.InputBufferLength;
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;
    ULONG_PTR Information = 0;

    UNREFERENCED_PARAMETER(Device);
    switch (Stack->Parameters.DeviceIoControl.IoControlCode) {
    case CODE(0): Status = SetName(In, InLength); break;
    case CODE(1): Status = SetString(In); break;
    case CODE(2):
        Status = GetName(
            Irp->UserBuffer, Stack->Parameters.DeviceIoControl.OutputBufferLength, &Information);
        break;
    case CODE(3): Status = WaitFlag(In, InLength); break;
    }
    return UiComplete(Irp, Status, Information);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&NameMutex);
    return UiStart(Driver, DeviceControl);
}
