/* How two blocks of floating-point numbers of one kind differ, written for vectors of any width. */
#include "vectors.h"

/* count_changes_N: how many of n patterns of N bits differ, and how many have the other sign. */
#define CHANGES(N)                                                                                 \
    INLINE void count_changes_##N(const char *a, const char *b, size_t n, struct difference *d)    \
    {                                                                                              \
        uint##N##_t changed = 0, flips = 0;                                                        \
        for (size_t i = 0; i < n; i++) {                                                           \
            uint##N##_t x, y;                                                                      \
            memcpy(&x, a + i * sizeof x, sizeof x);                                                \
            memcpy(&y, b + i * sizeof y, sizeof y);                                                \
            changed += x != y;                                                                     \
            flips += (uint##N##_t)(x ^ y) >> (N - 1) & ((x & INT##N##_MAX) != 0) &                 \
                     ((y & INT##N##_MAX) != 0);                                                    \
        }                                                                                          \
        d->changed += changed;                                                                     \
        d->flips += flips;                                                                         \
    }

CHANGES(16)
CHANGES(32)
CHANGES(64)

INLINE vdouble larger(vdouble a, vdouble b)
{
#if defined(__AVX512F__)
    return (vdouble)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX2__)
    return (vdouble)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
    vint64 greater = (vint64)(a > b);
    return (vdouble)(((vint64)a & greater) | ((vint64)b & ~greater));
#endif
}

/* A block with NaN or infinities (or squares that overflow): one element after another. */
INLINE void differ_slowly(enum kind kind, const char *a, const char *b, size_t n,
                          struct difference *total)
{
    size_t size = itemsize(kind);
    for (size_t i = 0; i < n; i++) {
        double x = load_one(kind, a, i), y = load_one(kind, b, i), distance = y - x;
        int changed = memcmp(a + i * size, b + i * size, size) != 0;
        total->changed += changed;
        if (x - x != 0 || y - y != 0) {
            total->nonfinite += changed;
            continue;
        }
        total->flips += (x < 0 && y > 0) || (x > 0 && y < 0);
        total->aa += x * x;
        total->bb += y * y;
        total->ab += x * y;
        total->dd += distance * distance;
        total->most = fabs(distance) > total->most ? fabs(distance) : total->most;
    }
}

INLINE void differ(enum kind kind, const char *a, const char *b, size_t n,
                   struct difference *total)
{
    vdouble aa[PARTS], bb[PARTS], ab[PARTS], dd[PARTS], most[PARTS];
    for (int part = 0; part < PARTS; part++)
        aa[part] = bb[part] = ab[part] = dd[part] = most[part] = (vdouble){0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int part = 0; part < PARTS; part++) {
            vdouble x = load(kind, a, i + part * WIDTH), y = load(kind, b, i + part * WIDTH);
            vdouble d = y - x;
            aa[part] += x * x;
            bb[part] += y * y;
            ab[part] += x * y;
            dd[part] += d * d;
            most[part] = larger((vdouble)((vint64)d & INT64_MAX), most[part]);
        }
    for (int lane = 0; i < n; i++, lane++) {
        double x = load_one(kind, a, i), y = load_one(kind, b, i), d = y - x;
        int part = lane / WIDTH, place = lane % WIDTH;
        aa[part][place] += x * x;
        bb[part][place] += y * y;
        ab[part][place] += x * y;
        dd[part][place] += d * d;
        most[part][place] = fabs(d) > most[part][place] ? fabs(d) : most[part][place];
    }
    double squares = add_lanes(aa), others = add_lanes(bb);
    if (!(squares + others <= DBL_MAX)) {
        differ_slowly(kind, a, b, n, total);
        return;
    }
    if (itemsize(kind) == 8)
        count_changes_64(a, b, n, total);
    else if (itemsize(kind) == 4)
        count_changes_32(a, b, n, total);
    else
        count_changes_16(a, b, n, total);
    total->aa += squares;
    total->bb += others;
    total->ab += add_lanes(ab);
    total->dd += add_lanes(dd);
    double lanes[LANES];
    memcpy(lanes, most, sizeof lanes);
    for (int lane = 0; lane < LANES; lane++)
        total->most = lanes[lane] > total->most ? lanes[lane] : total->most;
}

void DIFFERENCE(enum kind kind, const void *a, const void *b, size_t n, struct difference *total)
{
    const char *left = a, *right = b;
    for (size_t start = 0; start < n; start += BLOCK) {
        size_t size = n - start < BLOCK ? n - start : BLOCK, at = start * itemsize(kind);
        switch (kind) {
        case FLOAT64: differ(FLOAT64, left + at, right + at, size, total); break;
        case FLOAT32: differ(FLOAT32, left + at, right + at, size, total); break;
        case FLOAT16: differ(FLOAT16, left + at, right + at, size, total); break;
        case BFLOAT16: differ(BFLOAT16, left + at, right + at, size, total); break;
        default: break;
        }
    }
}
