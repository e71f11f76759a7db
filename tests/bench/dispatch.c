/* An IOCTL-like dispatch: a lock, checks, a list walk, copies between buffers, two services;
   4,000 requests. */
#include "bench.h"

typedef struct LIST {
    struct LIST *next, *previous;
} LIST;

typedef struct CLIENT {
    LIST link;
    u32 id, flags;
    u64 bytes, requests;
} CLIENT;

typedef struct DEVICE {
    long lock;
    u32 opened;
    LIST clients;
    u64 services;
    u8 scratch[256];
} DEVICE;

typedef struct REQUEST {
    u32 code, input, output, status;
    u64 information;
    u8 *buffer;
} REQUEST;

#define CODE(function, method) (0x220000u | (function) << 2 | (method))

static __attribute__((noinline)) CLIENT *find(DEVICE *device, u32 id)
{
    for (LIST *link = device->clients.next; link != &device->clients; link = link->next)
        if (((CLIENT *)link)->id == id)
            return (CLIENT *)link;
    return 0;
}

static __attribute__((noinline)) void acquire(DEVICE *device, BENCH *bench)
{
    while (__sync_lock_test_and_set(&device->lock, 1))
        device->services = bench->service(device->services, 1);
}

static void release(DEVICE *device)
{
    __sync_lock_release(&device->lock);
}

static __attribute__((noinline)) u32 dispatch(DEVICE *device, REQUEST *request, BENCH *bench)
{
    u32 status = 0;
    CLIENT *client;
    request->information = 0;
    device->services = bench->service(device->services, request->code);
    acquire(device, bench);
    switch (request->code) {
    case CODE(0x800, 0):
        if (request->input < 8 || request->output < 24) {
            status = 0xc0000023;
            break;
        }
        client = find(device, *(u32 *)request->buffer);
        if (!client) {
            status = 0xc0000225;
            break;
        }
        client->requests++;
        *(u64 *)request->buffer = client->bytes;
        *(u64 *)(request->buffer + 8) = client->requests;
        *(u64 *)(request->buffer + 16) = client->flags;
        request->information = 24;
        break;
    case CODE(0x801, 0):
        if (request->input > sizeof(device->scratch)) {
            status = 0xc0000206;
            break;
        }
        for (u32 i = 0; i < request->input; i++)
            device->scratch[i] = request->buffer[i] ^ 0x55;
        break;
    case CODE(0x802, 0): {
        u8 local[64];
        u32 size = request->output < sizeof(local) ? request->output : sizeof(local);
        for (u32 i = 0; i < size; i++)
            local[i] = device->scratch[i];
        for (u32 i = 0; i < size; i++)
            request->buffer[i] = local[size - 1 - i];
        request->information = size;
        break;
    }
    default:
        status = 0xc0000010;
    }
    release(device);
    device->services = bench->service(device->services, status);
    request->status = status;
    return status;
}

u64 run(BENCH *bench)
{
    DEVICE *device = (DEVICE *)bench->memory;
    CLIENT *clients = (CLIENT *)(bench->memory + 0x1000);
    u8 *buffer = bench->memory + 0x4000;
    u64 sum = 0;
    device->lock = 0;
    device->services = 0;
    device->clients.next = device->clients.previous = &device->clients;
    for (u32 i = 0; i < 256; i++)
        device->scratch[i] = (u8)i;
    for (u32 i = 0; i < 16; i++) {
        CLIENT *client = clients + i;
        client->id = i;
        client->flags = i & 3;
        client->bytes = i * 100;
        client->requests = 0;
        client->link.next = &device->clients;
        client->link.previous = device->clients.previous;
        device->clients.previous->next = &client->link;
        device->clients.previous = &client->link;
    }
    for (u32 i = 0; i < 4000; i++) {
        REQUEST request;
        request.code = CODE(0x800 + i % 4, 0);
        request.input = 16 + i % 16;
        request.output = 32;
        request.buffer = buffer;
        *(u32 *)buffer = i % 20;
        sum = sum * 7 + dispatch(device, &request, bench) + request.information;
    }
    return sum ^ device->services;
}
