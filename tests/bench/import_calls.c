/* 20,000 calls of a service outside the image. */
#include "bench.h"

u64 run(BENCH *bench)
{
    u64 sum = 0;
    for (u32 i = 0; i < 20000; i++)
        sum = bench->service(sum, i) ^ i << 3;
    return sum;
}
