/* The compiled core of wtools.sketch: what its files share. */
#ifndef WTOOLS_SKETCH_CORE_H
#define WTOOLS_SKETCH_CORE_H

#include <stddef.h>
#include <stdint.h>

#if !defined(__GNUC__) || (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
#error "The core needs GCC or Clang and a little-endian machine; wtools runs on NumPy without it."
#endif

/* INT8 and UINT8 have moments only. BYTES holds every type of 8 bits and less and is counted
 * only: the counts tell all. */
enum kind {
    FLOAT64, FLOAT32, FLOAT16, BFLOAT16, INT64, UINT64, INT32, UINT32, INT16, UINT16, INT8, UINT8,
    BYTES, KINDS
};

static inline size_t itemsize(enum kind kind)
{
    switch (kind) {
    case FLOAT64: case INT64: case UINT64: return 8;
    case FLOAT32: case INT32: case UINT32: return 4;
    case INT8: case UINT8: case BYTES: return 1;
    default: return 2;
    }
}

typedef __int128 wide;

/* What is known of some elements. Everything after the counts is over the finite ones;
 * m2, m3, m4 are sums of powers of the distance from the mean.
 *
 * The mean is center + offset: two numbers, so that differences of means do not cancel where the
 * elements lie close together and far from zero. Integers have exact sums (isum, il1) instead,
 * from which their mean follows, and exact extremes. */
struct moments {
    int64_t count, zeros, nans, pos_infs, neg_infs, subnormals;
    double sum, l1, m2, m3, m4, center, offset, min, max;
    wide isum, il1, imin, imax;
};

static inline int64_t finite_count(const struct moments *m)
{
    return m->count - m->nans - m->pos_infs - m->neg_infs;
}

/* Elements of one block: its float64 values fit the first-level cache. The partition into blocks
 * of this size, eight lanes in each, is the same for every instruction set, and no operation is
 * contracted into another, so that all of them give the same result to the last bit. */
enum { BLOCK = 4096, BYTE_BLOCK = 16384, LANES = 8 };

static inline size_t block_size(enum kind kind)
{
    return itemsize(kind) == 1 ? BYTE_BLOCK : BLOCK;
}

/* Adds the moments of `n` elements at `data` (any alignment) to `total`, block by block. */
typedef void moments_function(enum kind kind, const void *data, size_t n, struct moments *total);

moments_function moments_baseline, moments_avx2, moments_avx512;

/* How elements b differ from elements a. changed: with other bits. nonfinite: of those, with NaN or
 * an infinity on one side or both. The rest is over those that are finite on both sides: flips of
 * the sign, the largest |b - a|, and the sums of a*a, b*b, a*b, (b - a)**2. */
struct difference {
    int64_t changed, nonfinite, flips;
    double most, aa, bb, ab, dd;
};

/* Adds the difference of n elements of a floating-point kind to `total`. */
typedef void difference_function(enum kind kind, const void *a, const void *b, size_t n,
                                 struct difference *total);

difference_function difference_baseline, difference_avx2, difference_avx512;

static inline int is_integer(enum kind kind)
{
    return kind >= INT64;
}

/* merge.c: total += part. */
void merge(enum kind kind, struct moments *total, const struct moments *part);

/* count.c: the histogram. `count` adds n < 2**31 elements to a table of `table_bytes(kind)` bytes,
 * all zero at first. `drain` hands over the bins that are not empty, ascending, and clears the
 * table; it returns how many they are, at most `bin_count(kind)`. No counter overflows while not
 * more than 2**32 - 1 elements are counted between two drains. */
size_t bin_count(enum kind kind);
size_t table_bytes(enum kind kind);
void count(enum kind kind, const void *data, size_t n, void *table);
size_t drain(enum kind kind, void *table, uint32_t *bins, int64_t *counts);

#endif
