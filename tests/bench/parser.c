/* A JSON-like state machine over 128 KiB: nesting, strings with escapes, numbers. */
#include "bench.h"

static u32 write_text(u8 *text, u32 size)
{
    static const char piece[] = "{\"name\": \"dev\\\\ice\", \"id\": 12345, "
                                "\"list\": [1, 22, 333, {\"x\": -4}], \"ok\": true},\n";
    u32 at = 0;
    while (at + sizeof(piece) < size)
        for (u32 i = 0; piece[i]; i++)
            text[at++] = (u8)piece[i];
    return at;
}

u64 run(BENCH *bench)
{
    u8 *text = bench->memory;
    u32 size = write_text(text, 0x20000);
    u64 numbers = 0, sum = 0, strings = 0, depth = 0, deepest = 0, words = 0;
    for (u32 i = 0; i < size; i++) {
        switch (text[i]) {
        case '{':
        case '[':
            if (++depth > deepest)
                deepest = depth;
            break;
        case '}':
        case ']':
            depth--;
            break;
        case '"':
            for (i++; text[i] != '"'; i++)
                if (text[i] == '\\')
                    i++;
            strings++;
            break;
        case ' ':
        case '\n':
        case ',':
        case ':':
            break;
        default:
            if (text[i] == '-' || (text[i] >= '0' && text[i] <= '9')) {
                u64 value = 0;
                int negative = text[i] == '-';
                if (negative)
                    i++;
                while (text[i] >= '0' && text[i] <= '9')
                    value = value * 10 + (text[i++] - '0');
                i--;
                sum += negative ? 0 - value : value;
                numbers++;
            } else {
                while (text[i] >= 'a' && text[i] <= 'z')
                    i++;
                i--;
                words++;
            }
        }
    }
    return sum ^ numbers << 32 ^ strings << 40 ^ deepest << 56 ^ words << 16;
}
