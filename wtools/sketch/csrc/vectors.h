/* Vectors of doubles of any width, and the elements of every kind as such: included by each file
 * that is compiled for an instruction set of its own. */
#ifndef WTOOLS_SKETCH_VECTORS_H
#define WTOOLS_SKETCH_VECTORS_H

#include "core.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
enum { WIDTH = 8 }; /* doubles in a vector */
#elif defined(__AVX2__)
#include <immintrin.h>
enum { WIDTH = 4 };
#else
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
enum { WIDTH = 2 };
#endif

enum { PARTS = LANES / WIDTH };

#define INLINE static inline __attribute__((always_inline))

typedef double vdouble __attribute__((vector_size(8 * WIDTH)));
typedef int64_t vint64 __attribute__((vector_size(8 * WIDTH)));
typedef int64_t vint64_pair __attribute__((vector_size(16)));
typedef float half_vfloat __attribute__((vector_size(4 * WIDTH)));
typedef int32_t half_vint32 __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t half_vuint32 __attribute__((vector_size(4 * WIDTH)));
typedef int16_t quarter_vint16 __attribute__((vector_size(2 * WIDTH)));
typedef uint16_t quarter_vuint16 __attribute__((vector_size(2 * WIDTH)));

/* Half precision to float32, exactly. */
INLINE float widen_one(uint16_t h)
{
    uint32_t bits = (uint32_t)(h & 0x7FFF) << 13;
    float scaled;
    memcpy(&scaled, &bits, 4);
    scaled *= 0x1p112f;
    memcpy(&bits, &scaled, 4);
    bits |= (h & 0x7C00) == 0x7C00 ? 0x7F800000 : 0;
    bits |= (uint32_t)(h & 0x8000) << 16;
    memcpy(&scaled, &bits, 4);
    return scaled;
}

INLINE half_vfloat widen(quarter_vuint16 half)
{
#if defined(__AVX512F__)
    return (half_vfloat)_mm256_cvtph_ps((__m128i)half);
#elif defined(__AVX2__)
    return (half_vfloat)_mm_cvtph_ps((__m128i)(vint64_pair){(int64_t)half, 0});
#else
    half_vuint32 h = __builtin_convertvector(half, half_vuint32);
    half_vuint32 special = (half_vuint32)((h & 0x7C00) == 0x7C00) & 0x7F800000;
    half_vfloat scaled = (half_vfloat)((h & 0x7FFF) << 13) * 0x1p112f;
    return (half_vfloat)((half_vuint32)scaled | special | ((h & 0x8000) << 16));
#endif
}

/* bfloat16 to float32, exactly: the bytes of each become the upper half of a word. In a lane of
 * the shuffle the upper half of the source is that of the next elements. */
INLINE half_vfloat widen_brain(quarter_vuint16 half)
{
#if defined(__AVX512F__)
    const __m256i spread = _mm256_setr_epi8(-1, -1, 0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7,
                                            -1, -1, 8, 9, -1, -1, 10, 11, -1, -1, 12, 13, -1, -1,
                                            14, 15);
    return (half_vfloat)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256((__m128i)half), spread);
#elif defined(__AVX2__)
    const __m128i zero = _mm_setzero_si128();
    return (half_vfloat)_mm_unpacklo_epi16(zero, (__m128i)(vint64_pair){(int64_t)half, 0});
#else
    return (half_vfloat)(__builtin_convertvector(half, half_vuint32) << 16);
#endif
}

/* 16-bit integers to 32 bits. */
INLINE half_vint32 widen_signed(quarter_vint16 half)
{
#if defined(__AVX512F__)
    return (half_vint32)_mm256_cvtepi16_epi32((__m128i)half);
#elif defined(__AVX2__)
    return (half_vint32)_mm_cvtepi16_epi32((__m128i)(vint64_pair){(int64_t)half, 0});
#else
    return __builtin_convertvector(half, half_vint32);
#endif
}

INLINE half_vint32 widen_unsigned(quarter_vuint16 half)
{
#if defined(__AVX512F__)
    return (half_vint32)_mm256_cvtepu16_epi32((__m128i)half);
#elif defined(__AVX2__)
    return (half_vint32)_mm_cvtepu16_epi32((__m128i)(vint64_pair){(int64_t)half, 0});
#else
    return (half_vint32)__builtin_convertvector(half, half_vuint32);
#endif
}

INLINE double load_one(enum kind kind, const char *data, size_t i)
{
#define READ(type) type v; memcpy(&v, data + i * sizeof v, sizeof v)
    switch (kind) {
    case FLOAT64: { READ(double); return v; }
    case FLOAT32: { READ(float); return v; }
    case FLOAT16: { READ(uint16_t); return widen_one(v); }
    case BFLOAT16: {
        READ(uint16_t);
        uint32_t bits = (uint32_t)v << 16;
        float f;
        memcpy(&f, &bits, 4);
        return f;
    }
    case INT32: { READ(int32_t); return v; }
    case UINT32: { READ(uint32_t); return v; }
    case INT16: { READ(int16_t); return v; }
    default: { READ(uint16_t); return v; }
    }
#undef READ
}

INLINE vdouble from_floats(half_vfloat v)
{
#if defined(__AVX512F__)
    return (vdouble)_mm512_cvtps_pd((__m256)v);
#else
    return __builtin_convertvector(v, vdouble);
#endif
}

INLINE vdouble from_integers(half_vint32 v)
{
#if defined(__AVX512F__)
    return (vdouble)_mm512_cvtepi32_pd((__m256i)v);
#else
    return __builtin_convertvector(v, vdouble);
#endif
}

/* WIDTH elements from index i on, as doubles: exact for every kind that comes here. */
INLINE vdouble load(enum kind kind, const char *data, size_t i)
{
#define READ(type) type v; memcpy(&v, data + i * itemsize(kind), sizeof v)
    switch (kind) {
    case FLOAT64: { READ(vdouble); return v; }
    case FLOAT32: { READ(half_vfloat); return from_floats(v); }
    case FLOAT16: { READ(quarter_vuint16); return from_floats(widen(v)); }
    case BFLOAT16: { READ(quarter_vuint16); return from_floats(widen_brain(v)); }
    case INT32: { READ(half_vint32); return from_integers(v); }
    case UINT32: { /* by way of int32: a conversion that every instruction set has */
        READ(half_vint32);
        return from_integers(v ^ INT32_MIN) + 0x1p31;
    }
    case INT16: { READ(quarter_vint16); return from_integers(widen_signed(v)); }
    default: { READ(quarter_vuint16); return from_integers(widen_unsigned(v)); }
    }
#undef READ
}

INLINE double add_lanes(const vdouble *parts)
{
    double v[LANES];
    memcpy(v, parts, sizeof v);
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

#endif
