/* The same with all 32 KiB filled first. */
#include "bench.h"

u64 run(BENCH *bench)
{
    u64 sum = bench->memory[0];
    u64 size = 32768;
    u8 *to = bench->memory;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(1) : "memory");
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < 32; i++) {
        volatile u64 *spot = (volatile u64 *)(bench->memory + i * 1024 + 512);
        sum = sum * 31 + i;
        *spot = sum;
    }
    return sum;
}
