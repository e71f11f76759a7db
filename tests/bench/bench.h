/* What every kernel gets: zeroed memory of its own and one service outside its image. */
#ifndef BENCH_H
#define BENCH_H
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

typedef struct BENCH {
    u8 *memory; /* 1 MiB */
    u64 (*service)(u64 a, u64 b); /* returns a + b */
} BENCH;

u64 run(BENCH *bench);

static inline u32 next_random(u32 *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}
#endif
