/* The moments of one block, written for vectors of any width: each of baseline.c, avx2.c and avx512.c
 * defines the function's name and its instruction set, then includes this.
 *
 * A block is passed over twice while it lies in the first-level cache: once for its extremes,
 * in the elements' own type, once for its sums, in float64. */
#include "vectors.h"

/* --- the extremes -------------------------------------------------------------------------- */

INLINE int is_unsigned(enum kind kind)
{
    return kind == UINT64 || kind == UINT32 || kind == UINT16;
}

/* The pattern of the least number that is neither zero nor subnormal; for integers 1. */
INLINE uint64_t least_normal(enum kind kind)
{
    switch (kind) {
    case FLOAT64: return (uint64_t)1 << 52;
    case FLOAT32: return 1 << 23;
    case FLOAT16: return 1 << 10;
    case BFLOAT16: return 1 << 7;
    default: return 1;
    }
}

/* extremes_N: the least and the greatest of n > 0 patterns of N bits in the order of their
 * values, and whether any is zero or subnormal. small_N: how many are. NaN and infinities come
 * out as extremes. The loops are plain so that compilers turn them into vectors. */
#define PASSES(N)                                                                                  \
    INLINE int extremes_##N(enum kind kind, const char *data, size_t n, int##N##_t ends[2])        \
    {                                                                                              \
        int##N##_t low = INT##N##_MAX, high = INT##N##_MIN;                                        \
        uint##N##_t least = UINT##N##_MAX;                                                         \
        for (size_t i = 0; i < n; i++) {                                                           \
            int##N##_t x, a, key;                                                                  \
            memcpy(&x, data + i * sizeof x, sizeof x);                                             \
            a = is_integer(kind) ? x : x & INT##N##_MAX;                                           \
            key = is_unsigned(kind)  ? x ^ INT##N##_MIN                                            \
                  : is_integer(kind) ? x                                                           \
                                     : x ^ ((x >> (N - 1)) & INT##N##_MAX);                        \
            low = key < low ? key : low;                                                           \
            high = key > high ? key : high;                                                        \
            least = (uint##N##_t)a < least ? (uint##N##_t)a : least;                               \
        }                                                                                          \
        int##N##_t keys[2] = {low, high};                                                          \
        for (int k = 0; k < 2; k++)                                                                \
            ends[k] = is_unsigned(kind)  ? keys[k] ^ INT##N##_MIN                                  \
                      : is_integer(kind) ? keys[k]                                                 \
                                         : keys[k] ^ ((keys[k] >> (N - 1)) & INT##N##_MAX);        \
        return least < least_normal(kind);                                                         \
    }                                                                                              \
    INLINE void small_##N(enum kind kind, const char *data, size_t n, struct moments *m)           \
    {                                                                                              \
        uint##N##_t zeros = 0, small = 0;                                                          \
        for (size_t i = 0; i < n; i++) {                                                           \
            uint##N##_t x;                                                                         \
            memcpy(&x, data + i * sizeof x, sizeof x);                                             \
            x = is_integer(kind) ? x : x & INT##N##_MAX;                                           \
            zeros += x == 0;                                                                       \
            small += x < (uint##N##_t)least_normal(kind);                                          \
        }                                                                                          \
        m->zeros = (int64_t)zeros;                                                                 \
        m->subnormals = (int64_t)(small - zeros);                                                  \
    }

PASSES(16)
PASSES(32)
PASSES(64)

/* --- the sums ------------------------------------------------------------------------------ */

/* A point near the mean: the mean of eight samples; exactly the value where all are equal. */
INLINE double sample(enum kind kind, const char *data, size_t n)
{
    double x[8];
    for (int i = 0; i < 8; i++)
        x[i] = load_one(kind, data, (n - 1) * i / 7) * 0.125;
    return ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
}

/* Sums of powers of the distance from m->center -> those from the mean. */
INLINE void about_mean(struct moments *m, double n, double s2, double s3, double s4)
{
    double a = m->offset, a2 = a * a, m2 = s2 - n * a2;
    double m4 = s4 - 4 * a * s3 + 6 * a2 * s2 - 3 * n * a2 * a2;
    m->m2 = m2 < 0 ? 0 : m2;
    m->m3 = s3 - 3 * a * s2 + 2 * n * a2 * a;
    m->m4 = m4 < 0 ? 0 : m4;
}

/* Distances are taken from a point near the mean, so that they do not cancel where the mean is
 * far from zero. The last elements, too few for all lanes, go to the first lanes. */
INLINE void sums(enum kind kind, const char *data, size_t n, struct moments *m)
{
    vdouble sum[PARTS], l1[PARTS], s2[PARTS], s3[PARTS], s4[PARTS];
    double point = sample(kind, data, n);
    for (int part = 0; part < PARTS; part++)
        sum[part] = l1[part] = s2[part] = s3[part] = s4[part] = (vdouble){0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int part = 0; part < PARTS; part++) {
            __builtin_prefetch(data + (BLOCK + i + part * WIDTH) * itemsize(kind));
            vdouble x = load(kind, data, i + part * WIDTH);
            vdouble d = x - point, square = d * d;
            sum[part] += is_integer(kind) ? x : d; /* sums of integers are exact */
            l1[part] += (vdouble)((vint64)x & INT64_MAX);
            s2[part] += square;
            s3[part] += square * d;
            s4[part] += square * square;
        }
    for (int lane = 0; i < n; i++, lane++) {
        double x = load_one(kind, data, i), d = x - point, square = d * d;
        sum[lane / WIDTH][lane % WIDTH] += is_integer(kind) ? x : d;
        l1[lane / WIDTH][lane % WIDTH] += fabs(x);
        s2[lane / WIDTH][lane % WIDTH] += square;
        s3[lane / WIDTH][lane % WIDTH] += square * d;
        s4[lane / WIDTH][lane % WIDTH] += square * square;
    }
    double size = (double)n, total = add_lanes(sum);
    m->sum = is_integer(kind) ? total : total + size * point;
    m->l1 = add_lanes(l1);
    m->center = point;
    m->offset = (is_integer(kind) ? total - size * point : total) / size;
    about_mean(m, size, add_lanes(s2), add_lanes(s3), add_lanes(s4));
}

/* The extremes of a block, into m; false where any element is not finite. */
INLINE int extremes(enum kind kind, const char *data, size_t n, struct moments *m)
{
    double ends[2];
    int small;
#define ENDS(N)                                                                                    \
    int##N##_t patterns[2];                                                                        \
    small = extremes_##N(kind, data, n, patterns);                                                 \
    for (int k = 0; k < 2; k++)                                                                    \
        ends[k] = load_one(kind, (const char *)patterns, k);                                       \
    if (small)                                                                                     \
        small_##N(kind, data, n, m)
    if (itemsize(kind) == 8) {
        ENDS(64);
    } else if (itemsize(kind) == 4) {
        ENDS(32);
    } else {
        ENDS(16);
    }
#undef ENDS
    m->min = ends[0];
    m->max = ends[1];
    return ends[0] - ends[0] == 0 && ends[1] - ends[1] == 0;
}

/* A block with NaN or infinities: those are counted, the rest is packed and measured. */
INLINE void pack_finite(enum kind kind, const char *data, size_t n, struct moments *m)
{
    double values[BLOCK];
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        double x = load_one(kind, data, i);
        m->nans += x != x;
        m->pos_infs += x == INFINITY;
        m->neg_infs += x == -INFINITY;
        values[kept] = x;
        kept += x - x == 0;
    }
    if (kept) {
        struct moments finite;
        memset(&finite, 0, sizeof finite);
        extremes(FLOAT64, (const char *)values, kept, &finite);
        m->min = finite.min;
        m->max = finite.max;
        sums(FLOAT64, (const char *)values, kept, m);
    }
}

INLINE void run(enum kind kind, const char *data, size_t n, struct moments *total)
{
    for (size_t start = 0; start < n; start += BLOCK) {
        size_t size = n - start < BLOCK ? n - start : BLOCK;
        const char *block = data + start * itemsize(kind);
        struct moments m;
        memset(&m, 0, sizeof m);
        if (extremes(kind, block, size, &m))
            sums(kind, block, size, &m);
        else
            pack_finite(kind, block, size, &m);
        m.count = (int64_t)size;
        if (is_integer(kind)) { /* exact: 4096 integers of 32 bits */
            m.isum = (wide)m.sum;
            m.il1 = (wide)m.l1;
            m.imin = (wide)m.min;
            m.imax = (wide)m.max;
        }
        merge(kind, total, &m);
    }
}

/* 64-bit integers: exact sums, and distances that are differences of integers where those fit.
 * Sums of the upper and lower halves are kept apart: no addition of a block can overflow. */
INLINE void run64(enum kind kind, const char *data, size_t n, struct moments *total)
{
    const int is_signed = kind == INT64;
    const uint64_t flip = is_signed ? (uint64_t)1 << 63 : 0;
    for (size_t start = 0; start < n; start += BLOCK) {
        size_t size = n - start < BLOCK ? n - start : BLOCK;
        uint64_t x[BLOCK], least = UINT64_MAX, most = 0; /* in the order of unsigned numbers */
        uint64_t low = 0, high = 0, low_l1 = 0, high_l1 = 0, zeros = 0;
        memcpy(x, data + start * 8, size * 8);
        for (size_t i = 0; i < size; i++) {
            uint64_t ordered = x[i] ^ flip, negative = is_signed ? 0 - (x[i] >> 63) : 0;
            uint64_t a = (x[i] ^ negative) - negative;
            least = ordered < least ? ordered : least;
            most = ordered > most ? ordered : most;
            low += ordered & UINT32_MAX;
            high += ordered >> 32;
            low_l1 += a & UINT32_MAX;
            high_l1 += a >> 32;
            zeros += x[i] == 0;
        }
        struct moments m;
        memset(&m, 0, sizeof m);
        m.count = (int64_t)size;
        m.zeros = (int64_t)zeros;
        m.isum = ((wide)high << 32) + (wide)low - (wide)flip * (wide)size;
        m.il1 = ((wide)high_l1 << 32) + (wide)low_l1;
        m.imin = (wide)least - (wide)flip;
        m.imax = (wide)most - (wide)flip;
        m.sum = (double)m.isum;
        m.l1 = (double)m.il1;
        m.min = (double)m.imin;
        m.max = (double)m.imax;

        int fits = most - least < (uint64_t)1 << 63;
        wide middle = m.isum / (wide)size;
        double point = (double)middle, s[4][LANES] = {{0}};
        for (size_t i = 0; i < size; i++) {
            double value = is_signed ? (double)(int64_t)x[i] : (double)x[i];
            double d = fits ? (double)(int64_t)(x[i] - (uint64_t)middle) : value - point;
            double square = d * d;
            s[0][i % LANES] += d;
            s[1][i % LANES] += square;
            s[2][i % LANES] += square * d;
            s[3][i % LANES] += square * square;
        }
        vdouble parts[4][PARTS];
        memcpy(parts, s, sizeof parts);
        m.offset = add_lanes(parts[0]) / (double)size;
        about_mean(&m, (double)size, add_lanes(parts[1]), add_lanes(parts[2]),
                   add_lanes(parts[3]));
        merge(kind, total, &m);
    }
}

/* --- 8-bit integers ------------------------------------------------------------------------ */

typedef int16_t vint16 __attribute__((vector_size(8 * WIDTH)));
typedef int32_t vint32 __attribute__((vector_size(8 * WIDTH)));
typedef int8_t half_vint8 __attribute__((vector_size(4 * WIDTH)));

/* Products of 16-bit integers, each added to its neighbour's. */
INLINE vint32 multiply_pairs(vint16 a, vint16 b)
{
#if defined(__AVX512F__)
    return (vint32)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (vint32)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (vint32)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    vint32 even_a = ((vint32)a << 16) >> 16, even_b = ((vint32)b << 16) >> 16;
    return even_a * even_b + ((vint32)a >> 16) * ((vint32)b >> 16);
#endif
}

INLINE int64_t add_int32(vint32 v)
{
    int64_t sum = 0;
    for (int lane = 0; lane < 2 * WIDTH; lane++)
        sum += v[lane];
    return sum;
}

struct powers {
    int64_t sum, l1, s2, s3, s4;
};

/* Sums of powers of at most BYTE_BLOCK bytes y = x ^ flip, taken as signed. No lane overflows:
 * third powers are summed in turns of at most 512, fourth powers in two halves. */
INLINE struct powers powers_of_bytes(const uint8_t *x, size_t size, uint8_t flip)
{
    enum { STEP = 4 * WIDTH, TURN = 256 * STEP };
    struct powers p = {0};
    const vint16 one = (vint16){0} + 1;
    const half_vint8 flips = (half_vint8){0} + (int8_t)flip;
    vint32 sum = {0}, l1 = {0}, s2 = {0}, low = {0}, high = {0};
    size_t i = 0;
    while (i + STEP <= size) {
        size_t stop = size - i < TURN ? size : i + TURN;
        vint32 s3 = {0};
        for (; i + STEP <= stop; i += STEP) {
            half_vint8 bytes;
            memcpy(&bytes, x + i, sizeof bytes);
#if defined(__AVX512F__)
            vint16 y = (vint16)_mm512_cvtepi8_epi16((__m256i)(bytes ^ flips));
#else
            vint16 y = __builtin_convertvector(bytes ^ flips, vint16);
#endif
            vint16 square = y * y, negative = y >> 15;
            vint32 fourth = multiply_pairs(square, square);
            sum += multiply_pairs(y, one);
            l1 += multiply_pairs((y ^ negative) - negative, one);
            s2 += multiply_pairs(square, one);
            s3 += multiply_pairs(square, y);
            low += fourth & 0xFFFF;
            high += fourth >> 16;
        }
        p.s3 += add_int32(s3);
    }
    for (; i < size; i++) {
        int64_t y = (int8_t)(x[i] ^ flip), square = y * y;
        p.sum += y;
        p.l1 += y < 0 ? -y : y;
        p.s2 += square;
        p.s3 += square * y;
        p.s4 += square * square;
    }
    p.sum += add_int32(sum);
    p.l1 += add_int32(l1);
    p.s2 += add_int32(s2);
    p.s4 += add_int32(low) + add_int32(high) * 65536;
    return p;
}

/* All sums are exact. Powers are those of x - 128 where x is unsigned: moments about the mean do
 * not change by that. */
INLINE void run8(enum kind kind, const char *data, size_t n, struct moments *total)
{
    const uint8_t flip = kind == UINT8 ? 0x80 : 0;
    for (size_t start = 0; start < n; start += BYTE_BLOCK) {
        size_t size = n - start < BYTE_BLOCK ? n - start : BYTE_BLOCK;
        const uint8_t *x = (const uint8_t *)data + start;
        int8_t low = INT8_MAX, high = INT8_MIN;
        for (size_t i = 0; i < size; i++) {
            int8_t y = (int8_t)(x[i] ^ flip);
            low = y < low ? y : low;
            high = y > high ? y : high;
        }
        uint32_t zeros = 0;
        for (size_t i = 0; i < size; i++)
            zeros += x[i] == 0;

        struct moments m;
        memset(&m, 0, sizeof m);
        int shift = flip;
        struct powers p = powers_of_bytes(x, size, flip);
        int64_t count = (int64_t)size;
        wide s1 = p.sum, square = s1 * s1;
        m.count = count;
        m.zeros = zeros;
        m.isum = s1 + (wide)shift * count;
        m.il1 = kind == UINT8 ? m.isum : (wide)p.l1;
        m.imin = low + shift;
        m.imax = high + shift;
        m.sum = (double)m.isum;
        m.l1 = (double)m.il1;
        m.min = (double)m.imin;
        m.max = (double)m.imax;
        /* n m2, n**2 m3 and n**3 m4 are whole numbers of less than 90 bits. */
        double c = (double)count;
        m.m2 = (double)(count * p.s2 - square) / c;
        m.m3 = (double)((wide)count * count * p.s3 - 3 * count * s1 * p.s2 + 2 * square * s1) / (c * c);
        m.m4 = (double)((wide)count * count * count * p.s4 - 4 * (wide)count * count * s1 * p.s3 +
                        6 * count * square * p.s2 - 3 * square * square) / (c * c * c);
        merge(kind, total, &m);
    }
}

void MOMENTS(enum kind kind, const void *data, size_t n, struct moments *total)
{
    switch (kind) { /* `kind` is a constant in each branch: every one is compiled for itself */
    case FLOAT64: run(FLOAT64, data, n, total); break;
    case FLOAT32: run(FLOAT32, data, n, total); break;
    case FLOAT16: run(FLOAT16, data, n, total); break;
    case BFLOAT16: run(BFLOAT16, data, n, total); break;
    case INT32: run(INT32, data, n, total); break;
    case UINT32: run(UINT32, data, n, total); break;
    case INT16: run(INT16, data, n, total); break;
    case UINT16: run(UINT16, data, n, total); break;
    case INT8: run8(INT8, data, n, total); break;
    case UINT8: run8(UINT8, data, n, total); break;
    case INT64: run64(INT64, data, n, total); break;
    case UINT64: run64(UINT64, data, n, total); break;
    default: break;
    }
}
