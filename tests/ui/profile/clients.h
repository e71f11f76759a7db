/* Clients of a test driver, one per process; they stay until the driver is unloaded. */
#ifndef CLIENTS_H
#define CLIENTS_H

#include "ui_driver.h"

typedef struct _CLIENT {
    LIST_ENTRY Link;
    HANDLE Process;
    LONG Calls;
} CLIENT;

static LIST_ENTRY Clients;
static FAST_MUTEX ClientsLock;

static inline CLIENT *FindClient(HANDLE Process)
{
    CLIENT *Found = NULL;
    PLIST_ENTRY At;

    ExAcquireFastMutex(&ClientsLock);
    for (At = Clients.Flink; At != &Clients && !Found; At = At->Flink) {
        CLIENT *Client = CONTAINING_RECORD(At, CLIENT, Link);
        if (Client->Process == Process) Found = Client;
    }
    ExReleaseFastMutex(&ClientsLock);
    return Found;
}

/* The client of a process, made if there is none yet. */
static inline CLIENT *RememberClient(HANDLE Process)
{
    CLIENT *Client = FindClient(Process);

    if (Client) return Client;
    Client = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(CLIENT), UI_TAG);
    if (!Client) return NULL;
    Client->Process = Process;
    ExAcquireFastMutex(&ClientsLock);
    InsertTailList(&Clients, &Client->Link);
    ExReleaseFastMutex(&ClientsLock);
    return Client;
}

static inline VOID ClientsUnload(PDRIVER_OBJECT Driver)
{
    while (!IsListEmpty(&Clients)) {
        ExFreePoolWithTag(CONTAINING_RECORD(RemoveHeadList(&Clients), CLIENT, Link), UI_TAG);
    }
    UiUnload(Driver);
}

static inline NTSTATUS ClientsStart(PDRIVER_OBJECT Driver, PDRIVER_DISPATCH DeviceControl)
{
    NTSTATUS Status = UiStart(Driver, DeviceControl);

    InitializeListHead(&Clients);
    ExInitializeFastMutex(&ClientsLock);
    Driver->DriverUnload = ClientsUnload;
    return Status;
}

#endif
