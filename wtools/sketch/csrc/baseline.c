/* What every x86-64 (SSE2) and every arm64 (NEON) processor can run. */
#define MOMENTS moments_baseline
#define DIFFERENCE difference_baseline
#include "moments.h"
#include "difference.h"
