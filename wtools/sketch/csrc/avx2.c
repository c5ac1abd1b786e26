/* x86-64 with AVX2 and F16C (every processor with the one has the other). */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,f16c"))), apply_to = function)
#define __AVX2__ 1
#else
#pragma GCC target("avx2,f16c")
#endif
#define MOMENTS moments_avx2
#define DIFFERENCE difference_avx2
#include "moments.h"
#include "difference.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int moments_avx2_is_not_for_this_processor;
#endif
