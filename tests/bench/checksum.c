/* CRC-32 with a table over 128 KiB. */
#include "bench.h"

u64 run(BENCH *bench)
{
    u32 *table = (u32 *)bench->memory;
    u8 *data = bench->memory + 0x1000;
    u32 state = 1, crc = ~0u;
    for (u32 i = 0; i < 256; i++) {
        u32 c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        table[i] = c;
    }
    for (u32 i = 0; i < 0x20000; i += 4)
        *(u32 *)(data + i) = next_random(&state);
    for (u32 i = 0; i < 0x20000; i++)
        crc = table[(crc ^ data[i]) & 0xff] ^ crc >> 8;
    return ~crc;
}
