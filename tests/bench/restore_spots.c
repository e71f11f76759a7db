/* What one request may do: about 300 instructions that write to each of 32 adjacent KiB. */
#include "bench.h"

u64 run(BENCH *bench)
{
    u64 sum = bench->memory[0];
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < 32; i++) {
        volatile u64 *spot = (volatile u64 *)(bench->memory + i * 1024 + 512);
        sum = sum * 31 + i;
        *spot = sum;
    }
    return sum;
}
