/* Copies: SSE structure copies, a byte loop, rep movsb and rep stosb. */
#include "bench.h"

typedef struct RECORD {
    u64 fields[8];
} RECORD;

static void move_bytes(void *to, const void *from, u64 size)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

static void fill_bytes(void *to, u8 byte, u64 size)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
}

static void copy_loop(volatile u8 *to, const u8 *from, u32 size)
{
    for (u32 i = 0; i < size; i++)
        to[i] = from[i];
}

u64 run(BENCH *bench)
{
    RECORD *records = (RECORD *)bench->memory;
    u8 *bytes = bench->memory + 0x40000;
    u64 sum = 0;
    for (u32 i = 0; i < 1024; i++)
        for (u32 k = 0; k < 8; k++)
            records[i].fields[k] = i * k;
    for (u32 round = 0; round < 8; round++)
        for (u32 i = 0; i < 1023; i++) {
            records[i] = records[i + 1];
            __asm__ volatile("" : : : "memory");
        }
    for (u32 i = 0; i < 64; i++) {
        move_bytes(bytes + i * 700, records, 300 + i);
        fill_bytes(bytes + 0x20000, (u8)i, 2000);
        copy_loop(bytes + 0x30000, bytes + i * 100, 256);
    }
    for (u32 i = 0; i < 0x1000; i++)
        sum = sum * 31 + bytes[i * 4];
    return sum;
}
