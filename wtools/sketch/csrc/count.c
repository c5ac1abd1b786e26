/* The histogram: one counter for each bin (see bins.py).
 *
 * Each element is one store, and a core retires about one store to an arbitrary place in a cycle:
 * that bounds the speed. Increments of one and the same counter wait for each other, though, so
 * where neighbours are often equal they go to two tables. Elsewhere one is faster, because
 * processors take addresses that agree in their lowest twelve bits for the same at first, and two
 * tables have twice as many of those. */
#include "core.h"

#include <string.h>

enum { WORD_BINS = 1 << 16, DOUBLE_BINS = 1 << 19 };

/* Bytes are counted in pairs, in counters of 8 bits: half the stores, in a table that nearly fits
 * the first-level cache. `carry` counts how often each of them came around to zero. */
struct byte_table {
    uint8_t pairs[WORD_BINS];
    uint32_t carry[WORD_BINS];
    uint32_t single[256];
};

size_t bin_count(enum kind kind)
{
    return kind == BYTES ? 256 : kind == FLOAT64 ? DOUBLE_BINS : WORD_BINS;
}

size_t table_bytes(enum kind kind)
{
    if (kind == BYTES)
        return sizeof(struct byte_table);
    return sizeof(uint32_t) * (kind == FLOAT64 ? DOUBLE_BINS : 2 * WORD_BINS);
}

static void count_bytes(const char *data, size_t n, struct byte_table *table)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t w;
        memcpy(&w, data + i, 8);
        for (int k = 0; k < 4; k++) {
            uint16_t pair = (uint16_t)(w >> (16 * k));
            if (__builtin_expect(++table->pairs[pair] == 0, 0))
                table->carry[pair]++;
        }
    }
    for (; i < n; i++)
        table->single[(uint8_t)data[i]]++;
}

static size_t drain_bytes(struct byte_table *table, uint32_t *bins, int64_t *counts)
{
    int64_t sums[256];
    size_t used = 0;
    for (int i = 0; i < 256; i++)
        sums[i] = table->single[i];
    for (int high = 0; high < 256; high++)
        for (int low = 0; low < 256; low++) {
            int pair = high << 8 | low;
            int64_t both = (int64_t)table->carry[pair] * 256 + table->pairs[pair];
            sums[low] += both;
            sums[high] += both;
        }
    memset(table, 0, sizeof *table);
    for (int i = 0; i < 256; i++)
        if (sums[i]) {
            bins[used] = (uint32_t)i;
            counts[used++] = sums[i];
        }
    return used;
}

/* Are the bins of neighbours often the same, as in a tensor with many zeros? Among some of n
 * elements of `size` bytes, whose bin is their upper half word. */
static int repeats(const char *data, size_t n, size_t size)
{
    enum { SAMPLES = 128, OFTEN = SAMPLES / 16 };
    int equal = 0;
    if (n <= SAMPLES)
        return 0;
    const char *upper = data + (n - SAMPLES) / 2 * size + size - 2;
    for (size_t i = 0; i < SAMPLES; i++)
        equal += !memcmp(upper + i * size, upper + (i + 1) * size, 2);
    return equal > OFTEN;
}

/* Elements are read a cache line at a time, and asked for AHEAD of that: a processor that waits for
 * memory holds up its stores as well. */
enum { LINE = 64, AHEAD = 4096 };

static void count_words(const char *data, size_t n, uint32_t *table)
{
    uint32_t *other = repeats(data, n, 2) ? table + WORD_BINS : table;
    const char *end = data + 2 * n;
    for (; end - data >= LINE; data += LINE) {
        __builtin_prefetch(data + AHEAD);
        for (int i = 0; i < LINE; i += 8) {
            uint64_t w;
            memcpy(&w, data + i, 8);
            table[(uint16_t)w]++;
            other[(uint16_t)(w >> 16)]++;
            table[(uint16_t)(w >> 32)]++;
            other[w >> 48]++;
        }
    }
    for (; data < end; data += 2) {
        uint16_t w;
        memcpy(&w, data, 2);
        table[w]++;
    }
}

static void count_floats(const char *data, size_t n, uint32_t *table)
{
    uint32_t *other = repeats(data, n, 4) ? table + WORD_BINS : table;
    const char *end = data + 4 * n;
    for (; end - data >= LINE; data += LINE) {
        __builtin_prefetch(data + AHEAD);
        for (int i = 0; i < LINE; i += 8) {
            uint64_t w;
            memcpy(&w, data + i, 8);
            table[(uint16_t)(w >> 16)]++;
            other[w >> 48]++;
        }
    }
    for (; data < end; data += 4) {
        uint32_t w;
        memcpy(&w, data, 4);
        table[w >> 16]++;
    }
}

static void count_doubles(const char *data, size_t n, uint32_t *table)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t w;
        memcpy(&w, data + 8 * i, 8);
        table[w >> 45]++;
    }
}

/* The value cut to float32: exponent from the highest bit, then the seven bits below it. */
static inline uint32_t integer_bin(uint64_t magnitude, uint32_t negative)
{
    int shift = __builtin_clzll(magnitude | 1);
    uint32_t mantissa = (uint32_t)(magnitude << shift >> 56) & 0x7F;
    uint32_t bin = negative << 15 | (uint32_t)(63 - shift + 127) << 7 | mantissa;
    return magnitude ? bin : 0;
}

static inline __attribute__((always_inline)) void
count_integers(enum kind kind, const char *data, size_t n, uint32_t *table)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t value = 0;
        memcpy(&value, data + itemsize(kind) * i, itemsize(kind));
        if (kind == INT32)
            value = (uint64_t)(int64_t)(int32_t)(uint32_t)value;
        uint64_t negative = (kind == INT64 || kind == INT32) ? value >> 63 : 0;
        uint64_t magnitude = (value ^ (0 - negative)) + negative;
        table[integer_bin(magnitude, (uint32_t)negative) + WORD_BINS * (i & 1)]++;
    }
}

void count(enum kind kind, const void *data, size_t n, void *table)
{
    switch (kind) {
    case BYTES: count_bytes(data, n, table); break;
    case FLOAT64: count_doubles(data, n, table); break;
    case FLOAT32: count_floats(data, n, table); break;
    case INT64: count_integers(INT64, data, n, table); break;
    case UINT64: count_integers(UINT64, data, n, table); break;
    case INT32: count_integers(INT32, data, n, table); break;
    case UINT32: count_integers(UINT32, data, n, table); break;
    default: count_words(data, n, table); break;
    }
}

size_t drain(enum kind kind, void *table, uint32_t *bins, int64_t *counts)
{
    if (kind == BYTES)
        return drain_bytes(table, bins, counts);
    size_t used = 0, tables = kind == FLOAT64 ? 1 : 2, size = bin_count(kind);
    uint32_t *counters = table;
    for (size_t start = 0; start < size; start += 16) { /* most of them are empty */
        uint32_t any = 0;
        for (size_t t = 0; t < tables; t++)
            for (size_t i = 0; i < 16; i++)
                any |= counters[t * size + start + i];
        if (!any)
            continue;
        for (size_t i = start; i < start + 16; i++) {
            int64_t sum = counters[i];
            counters[i] = 0;
            if (tables == 2) {
                sum += counters[size + i];
                counters[size + i] = 0;
            }
            if (sum) {
                bins[used] = (uint32_t)i;
                counts[used++] = sum;
            }
        }
    }
    return used;
}
