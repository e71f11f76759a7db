/* Channels by name: \Device\Ui\NAME opens one, made at the first open. Names are compared without
   case, listed with their counts, and printed. */
#include "ui_driver.h"
#include <ntstrsafe.h>

#define IOCTL_LIST CTL_CODE(FILE_DEVICE_UNKNOWN, 0x8E0, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_DESCRIBE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x8E5, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define MAX_NAME_BYTES 64

typedef struct _CHANNEL {
    LIST_ENTRY Link;
    ULONG Opens;
    UNICODE_STRING Name;
    WCHAR NameBuffer[ANYSIZE_ARRAY];
} CHANNEL, *PCHANNEL;

/* One record of the list: the next one follows at an aligned offset. */
typedef struct _CHANNEL_RECORD {
    ULONG NextOffset; /* 0 in the last one */
    ULONG Opens;
    USHORT NameBytes;
    WCHAR Name[ANYSIZE_ARRAY];
} CHANNEL_RECORD, *PCHANNEL_RECORD;

static KGUARDED_MUTEX Mutex;
static LIST_ENTRY Channels;

static PCHANNEL Find(PCUNICODE_STRING Name)
{
    PLIST_ENTRY Entry;

    for (Entry = Channels.Flink; Entry != &Channels; Entry = Entry->Flink) {
        PCHANNEL Channel = CONTAINING_RECORD(Entry, CHANNEL, Link);

        if (RtlEqualUnicodeString(&Channel->Name, Name, TRUE)) return Channel;
    }
    return NULL;
}

static PCHANNEL Make(PCUNICODE_STRING Name)
{
    PCHANNEL Channel = ExAllocatePoolWithTag(
        PagedPool, FIELD_OFFSET(CHANNEL, NameBuffer) + Name->Length, UI_TAG);

    if (Channel == NULL) return NULL;
    Channel->Opens = 0;
    Channel->Name.Buffer = Channel->NameBuffer;
    Channel->Name.MaximumLength = Name->Length;
    RtlCopyUnicodeString(&Channel->Name, Name);
    InsertTailList(&Channels, &Channel->Link);
    return Channel;
}

static NTSTATUS Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    PFILE_OBJECT File = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    UNICODE_STRING Name = File->FileName;
    NTSTATUS Status = STATUS_SUCCESS;
    PCHANNEL Channel;

    UNREFERENCED_PARAMETER(Device);
    if (File->RelatedFileObject != NULL) return UiComplete(Irp, STATUS_OBJECT_NAME_INVALID, 0);
    if (Name.Length >= sizeof(WCHAR) && Name.Buffer[0] == L'\\') {
        Name.Buffer++;
        Name.Length -= sizeof(WCHAR);
        Name.MaximumLength -= sizeof(WCHAR);
    }
    if (Name.Length > MAX_NAME_BYTES) return UiComplete(Irp, STATUS_OBJECT_NAME_INVALID, 0);
    KeAcquireGuardedMutex(&Mutex);
    Channel = Find(&Name);
    if (Channel == NULL) Channel = Make(&Name);
    if (Channel == NULL) {
        Status = STATUS_INSUFFICIENT_RESOURCES;
    } else {
        Channel->Opens++;
        File->FsContext = Channel;
    }
    KeReleaseGuardedMutex(&Mutex);
    return UiComplete(Irp, Status, NT_SUCCESS(Status) ? FILE_OPENED : 0);
}

static NTSTATUS Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    PCHANNEL Channel = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;

    UNREFERENCED_PARAMETER(Device);
    KeAcquireGuardedMutex(&Mutex);
    if (--Channel->Opens == 0) {
        RemoveEntryList(&Channel->Link);
        ExFreePoolWithTag(Channel, UI_TAG);
    }
    KeReleaseGuardedMutex(&Mutex);
    return UiComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS List(PUCHAR Buffer, ULONG Room, PULONG_PTR Information)
{
    NTSTATUS Status = STATUS_SUCCESS;
    PCHANNEL_RECORD Last = NULL;
    PLIST_ENTRY Entry;
    ULONG Used = 0;

    KeAcquireGuardedMutex(&Mutex);
    for (Entry = Channels.Flink; Entry != &Channels; Entry = Entry->Flink) {
        PCHANNEL Channel = CONTAINING_RECORD(Entry, CHANNEL, Link);
        ULONG Start = ALIGN_UP_BY(Used, sizeof(ULONG));
        ULONG Size = FIELD_OFFSET(CHANNEL_RECORD, Name) + Channel->Name.Length;
        PCHANNEL_RECORD Record = (PCHANNEL_RECORD)(Buffer + Start);

        if (Start > Room || Room - Start < Size) {
            Status = STATUS_BUFFER_OVERFLOW;
            break;
        }
        RtlZeroMemory(Buffer + Used, Start - Used);
        Record->NextOffset = 0;
        Record->Opens = Channel->Opens;
        Record->NameBytes = Channel->Name.Length;
        RtlCopyMemory(Record->Name, Channel->Name.Buffer, Channel->Name.Length);
        if (Last != NULL) Last->NextOffset = (ULONG)((PUCHAR)Record - (PUCHAR)Last);
        Last = Record;
        Used = Start + Size;
    }
    KeReleaseGuardedMutex(&Mutex);
    *Information = Used;
    return Status;
}

static NTSTATUS Describe(PCHANNEL Channel, PCHAR Buffer, ULONG Room, PULONG_PTR Information)
{
    ANSI_STRING Ansi;
    CHAR Text[128];
    NTSTATUS Status;

    Status = RtlUnicodeStringToAnsiString(&Ansi, &Channel->Name, TRUE);
    if (!NT_SUCCESS(Status)) return Status;
    Status = RtlStringCbPrintfA(Text, sizeof(Text), "channel '%Z'", &Ansi);
    RtlFreeAnsiString(&Ansi);
    if (!NT_SUCCESS(Status)) return Status;
    if (strlen(Text) + 1 > Room) return STATUS_BUFFER_TOO_SMALL;
    strcpy(Buffer, Text);
    *Information = strlen(Text) + 1;
    return STATUS_SUCCESS;
}

static NTSTATUS DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    PVOID Buffer = Irp->AssociatedIrp.SystemBuffer;
    ULONG Out = Stack->Parameters.DeviceIoControl.OutputBufferLength;
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;
    ULONG_PTR Information = 0;

    UNREFERENCED_PARAMETER(Device);
    switch (Stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_LIST: Status = List(Buffer, Out, &Information); break;
    case IOCTL_DESCRIBE:
        Status = Describe(Stack->FileObject->FsContext, Buffer, Out, &Information);
        break;
    }
    return UiComplete(Irp, Status, Information);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status;

    DbgPrint("channels: %wZ\n", RegistryPath);
    KeInitializeGuardedMutex(&Mutex);
    InitializeListHead(&Channels);
    Status = UiStart(Driver, DeviceControl);
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    return Status;
}
