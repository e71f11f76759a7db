/* A hash table with chains: 4096 nodes, 60,000 look-ups. */
#include "bench.h"

typedef struct NODE {
    struct NODE *next;
    u64 key, value;
} NODE;

static NODE *find(NODE **buckets, u64 key)
{
    NODE *node = buckets[key * 0x9e3779b97f4a7c15ull >> 54];
    while (node && node->key != key)
        node = node->next;
    return node;
}

u64 run(BENCH *bench)
{
    NODE **buckets = (NODE **)bench->memory;
    NODE *nodes = (NODE *)(bench->memory + 0x2000);
    u32 state = 7;
    u64 sum = 0;
    for (u32 i = 0; i < 1024; i++)
        buckets[i] = 0;
    for (u32 i = 0; i < 4096; i++) {
        NODE *node = nodes + i;
        node->key = i * 3;
        node->value = i;
        NODE **bucket = buckets + (node->key * 0x9e3779b97f4a7c15ull >> 54);
        node->next = *bucket;
        *bucket = node;
    }
    for (u32 i = 0; i < 60000; i++) {
        NODE *node = find(buckets, next_random(&state) % 16384);
        if (node) {
            node->value++;
            sum += node->value;
        }
    }
    return sum;
}
