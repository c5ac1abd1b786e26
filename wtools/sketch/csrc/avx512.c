/* x86-64 with AVX-512 (the subsets that Skylake-X has). */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,f16c"))), \
                             apply_to = function)
#define __AVX512F__ 1
#else
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,f16c,prefer-vector-width=512")
#endif
#define MOMENTS moments_avx512
#define DIFFERENCE difference_avx512
#include "moments.h"
#include "difference.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int moments_avx512_is_not_for_this_processor;
#endif
