/* Sessions with reference counts: each handle makes one, any handle may look one up by number and
   send it bytes; the last reference frees it. */
#include "ui_driver.h"

#define IOCTL_MY_NUMBER CTL_CODE(FILE_DEVICE_UNKNOWN, 0x871, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_SEND CTL_CODE(FILE_DEVICE_UNKNOWN, 0x872, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_RECEIVE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x873, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define MAX_MAIL 64

typedef struct _SESSION {
    LIST_ENTRY Link;           /* under ListMutex */
    volatile LONG References;  /* one of the list while linked, one per user */
    ULONG Number;
    FAST_MUTEX MailMutex;      /* never taken together with ListMutex */
    ULONG MailLength;
    UCHAR Mail[MAX_MAIL];
} SESSION, *PSESSION;

typedef struct _SEND_INPUT {
    ULONG Number;
    ULONG Length;
    UCHAR Bytes[ANYSIZE_ARRAY];
} SEND_INPUT, *PSEND_INPUT;

static FAST_MUTEX ListMutex;
static LIST_ENTRY Sessions;
static ULONG NextNumber;

static VOID Release(PSESSION Session)
{
    if (InterlockedDecrement(&Session->References) == 0) ExFreePoolWithTag(Session, UI_TAG);
}

static PSESSION Lookup(ULONG Number)
{
    PSESSION Found = NULL;
    PLIST_ENTRY Entry;

    ExAcquireFastMutex(&ListMutex);
    for (Entry = Sessions.Flink; Entry != &Sessions; Entry = Entry->Flink) {
        PSESSION Session = CONTAINING_RECORD(Entry, SESSION, Link);

        if (Session->Number == Number) {
            InterlockedIncrement(&Session->References);
            Found = Session;
            break;
        }
    }
    ExReleaseFastMutex(&ListMutex);
    return Found;
}

static NTSTATUS Send(const SEND_INPUT *Input, ULONG InputLength)
{
    NTSTATUS Status = STATUS_SUCCESS;
    PSESSION Session;

    if (InputLength < FIELD_OFFSET(SEND_INPUT, Bytes) ||
        Input->Length > InputLength - FIELD_OFFSET(SEND_INPUT, Bytes) || Input->Length > MAX_MAIL) {
        return STATUS_INVALID_PARAMETER;
    }
    Session = Lookup(Input->Number);
    if (Session == NULL) return STATUS_NOT_FOUND;
    ExAcquireFastMutex(&Session->MailMutex);
    if (Session->MailLength != 0) {
        Status = STATUS_DEVICE_BUSY;
    } else {
        RtlCopyMemory(Session->Mail, Input->Bytes, Input->Length);
        Session->MailLength = Input->Length;
    }
    ExReleaseFastMutex(&Session->MailMutex);
    Release(Session);
    return Status;
}

static NTSTATUS Receive(PSESSION Session, PVOID Buffer, ULONG Length, PULONG_PTR Information)
{
    NTSTATUS Status = STATUS_BUFFER_TOO_SMALL;

    ExAcquireFastMutex(&Session->MailMutex);
    if (Session->MailLength == 0) {
        Status = STATUS_NO_MORE_ENTRIES;
    } else if (Session->MailLength <= Length) {
        RtlCopyMemory(Buffer, Session->Mail, Session->MailLength);
        *Information = Session->MailLength;
        Session->MailLength = 0;
        Status = STATUS_SUCCESS;
    }
    ExReleaseFastMutex(&Session->MailMutex);
    return Status;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    PSESSION Session = Stack->FileObject->FsContext;
    PVOID Buffer = Irp->AssociatedIrp.SystemBuffer;
    ULONG In = Stack->Parameters.DeviceIoControl.InputBufferLength;
    ULONG Out = Stack->Parameters.DeviceIoControl.OutputBufferLength;
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;
    ULONG_PTR Information = 0;

    UNREFERENCED_PARAMETER(Device);
    switch (Stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_MY_NUMBER:
        Status = STATUS_BUFFER_TOO_SMALL;
        if (Out >= sizeof(ULONG)) {
            *(PULONG)Buffer = Session->Number;
            Information = sizeof(ULONG);
            Status = STATUS_SUCCESS;
        }
        break;
    case IOCTL_SEND: Status = Send(Buffer, In); break;
    case IOCTL_RECEIVE: Status = Receive(Session, Buffer, Out, &Information); break;
    }
    return UiComplete(Irp, Status, Information);
}

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    PSESSION Session;

    UNREFERENCED_PARAMETER(Device);
    Session = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*Session), UI_TAG);
    if (Session == NULL) return UiComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    ExInitializeFastMutex(&Session->MailMutex);
    Session->MailLength = 0;
    Session->References = 1;
    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = Session;
    ExAcquireFastMutex(&ListMutex);
    Session->Number = ++NextNumber;
    InsertHeadList(&Sessions, &Session->Link);
    ExReleaseFastMutex(&ListMutex);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    PSESSION Session = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;

    /* Nobody finds it any more; memory stays until the close, and until the last sender is done. */
    UNREFERENCED_PARAMETER(Device);
    ExAcquireFastMutex(&ListMutex);
    RemoveEntryList(&Session->Link);
    ExReleaseFastMutex(&ListMutex);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    PFILE_OBJECT File = IoGetCurrentIrpStackLocation(Irp)->FileObject;

    UNREFERENCED_PARAMETER(Device);
    Release(File->FsContext);
    File->FsContext = NULL;
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ExInitializeFastMutex(&ListMutex);
    InitializeListHead(&Sessions);
    Status = UiStart(Driver, DeviceControl);
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    return Status;
}
