/* Runs one kernel natively, for tools that watch whole programs: maps the image at the address
   that it was placed for, runs it some times, and prints the shortest time in nanoseconds and the
   result.

   Usage: host IMAGE BASE ENTRY SAMPLES REPEATS (numbers as in C). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long u64;

#define MEMORY_BYTES (1u << 20)

typedef struct BENCH {
    unsigned char *memory;
    u64 (__attribute__((ms_abi)) *service)(u64 a, u64 b);
} BENCH;

static __attribute__((ms_abi)) u64 service(u64 a, u64 b)
{
    return a + b;
}

static u64 now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (u64)time.tv_sec * 1000000000u + (u64)time.tv_nsec;
}

int main(int count, char **arguments)
{
    if (count != 6)
        return 2;
    u64 base = strtoull(arguments[2], 0, 0), entry = strtoull(arguments[3], 0, 0);
    u64 samples = strtoull(arguments[4], 0, 0), repeats = strtoull(arguments[5], 0, 0);
    int file = open(arguments[1], O_RDONLY);
    off_t size = lseek(file, 0, SEEK_END);
    if (file < 0 || size <= 0)
        return 3;
    void *image = mmap((void *)base, (size_t)size, PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_FIXED_NOREPLACE, file, 0);
    if (image != (void *)base)
        return 4;
    BENCH bench = {calloc(1, MEMORY_BYTES), service};
    u64 (__attribute__((ms_abi)) *run)(BENCH *) =
        (u64 (__attribute__((ms_abi)) *)(BENCH *))(base + entry);
    u64 result = run(&bench), shortest = ~0ull;
    for (u64 sample = 0; sample < samples; sample++) {
        u64 start = now();
        for (u64 n = 0; n < repeats; n++)
            result = run(&bench);
        u64 time = now() - start;
        if (time < shortest)
            shortest = time;
    }
    printf("%llu %llu\n", shortest / repeats, result);
    return 0;
}
