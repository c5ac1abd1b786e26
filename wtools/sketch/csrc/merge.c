/* Adding up two sets of moments: the formulas of model.py (Pebay 2008). */
#include "core.h"

/* The distance from the mean of `a` to that of `b`. */
static double between(enum kind kind, const struct moments *a, wide na, const struct moments *b,
                      wide nb)
{
    if (!is_integer(kind))
        return (b->center - a->center) + (b->offset - a->offset);
    wide whole_a = a->isum / na, whole_b = b->isum / nb;
    return (double)(whole_b - whole_a) + ((double)(b->isum - whole_b * nb) / (double)nb -
                                          (double)(a->isum - whole_a * na) / (double)na);
}

void merge(enum kind kind, struct moments *a, const struct moments *b)
{
    int64_t na = finite_count(a), nb = finite_count(b);
    a->count += b->count;
    a->zeros += b->zeros;
    a->nans += b->nans;
    a->pos_infs += b->pos_infs;
    a->neg_infs += b->neg_infs;
    a->subnormals += b->subnormals;
    if (!nb)
        return;
    if (!na) {
        struct moments counts = *a;
        *a = *b;
        a->count = counts.count;
        a->zeros = counts.zeros;
        a->nans = counts.nans;
        a->pos_infs = counts.pos_infs;
        a->neg_infs = counts.neg_infs;
        a->subnormals = counts.subnormals;
        return;
    }
    double n = (double)(na + nb), x = (double)na / n, y = (double)nb / n;
    double d = between(kind, a, na, b, nb);
    double d2 = d * d, weight = x * (double)nb;
    double m2 = (a->m2 + b->m2) + d2 * weight;
    double m3 = (a->m3 + b->m3) + (d2 * d * weight * (x - y) + 3 * d * (x * b->m2 - y * a->m2));
    a->m4 = (a->m4 + b->m4) + (d2 * d2 * weight * (x * x - x * y + y * y)
                               + 6 * d2 * (x * x * b->m2 + y * y * a->m2)
                               + 4 * d * (x * b->m3 - y * a->m3));
    a->m3 = m3;
    a->m2 = m2;
    a->offset += d * y;
    a->sum += b->sum;
    a->l1 += b->l1;
    a->isum += b->isum;
    a->il1 += b->il1;
    a->min = a->min < b->min ? a->min : b->min;
    a->max = a->max > b->max ? a->max : b->max;
    a->imin = a->imin < b->imin ? a->imin : b->imin;
    a->imax = a->imax > b->imax ? a->imax : b->imax;
}
