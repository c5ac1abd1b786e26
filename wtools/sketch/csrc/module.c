/* The Python module wtools.sketch._core: thin functions over the core, which release the GIL.
 * Their arguments are checked so that no call from Python can reach outside a buffer. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core.h"

#if defined(Py_LIMITED_API) && Py_LIMITED_API < 0x030B0000
/* The buffer protocol joined the stable ABI with Python 3.11; 3.10 has the same functions and
 * the same structure, only its headers hide them. */
typedef struct {
    void *buf;
    PyObject *obj;
    Py_ssize_t len, itemsize;
    int readonly, ndim;
    char *format;
    Py_ssize_t *shape, *strides, *suboffsets;
    void *internal;
} Py_buffer;
#define PyBUF_SIMPLE 0
#define PyBUF_WRITABLE 1
PyAPI_FUNC(int) PyObject_GetBuffer(PyObject *, Py_buffer *, int);
PyAPI_FUNC(void) PyBuffer_Release(Py_buffer *);
#endif

enum isa { BASELINE, AVX2, AVX512, ISAS };

static moments_function *const IMPLEMENTATIONS[ISAS] = {
    moments_baseline,
#if defined(__x86_64__)
    moments_avx2,
    moments_avx512,
#endif
};

static difference_function *const DIFFERENCES[ISAS] = {
    difference_baseline,
#if defined(__x86_64__)
    difference_avx2,
    difference_avx512,
#endif
};

static int best_isa(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        return AVX512;
    if (__builtin_cpu_supports("avx2"))
        return AVX2;
#endif
    return BASELINE;
}

/* What one call works with: the elements' kind, the instruction set, and where counts go. */
struct task {
    int kind, isa, with_moments;
    Py_buffer table; /* table.obj is NULL without a histogram */
    struct moments moments;
};

static int begin(struct task *task, PyObject *table)
{
    memset(&task->moments, 0, sizeof task->moments);
    task->table.obj = NULL;
    if (task->kind < 0 || task->kind >= KINDS || task->isa < 0 || task->isa > best_isa() ||
        (task->kind == BYTES && task->with_moments)) {
        PyErr_SetString(PyExc_ValueError, "unknown kind of elements or instruction set");
        return 0;
    }
    if (table == Py_None)
        return 1;
    if (task->kind == INT8 || task->kind == UINT8) {
        PyErr_SetString(PyExc_ValueError, "elements of 8 bits are counted as BYTES");
        return 0;
    }
    if (PyObject_GetBuffer(table, &task->table, PyBUF_WRITABLE) < 0)
        return 0;
    if ((size_t)task->table.len != table_bytes(task->kind) || (uintptr_t)task->table.buf % 8) {
        PyErr_SetString(PyExc_ValueError, "the table has the wrong size or alignment");
        PyBuffer_Release(&task->table);
        return 0;
    }
    return 1;
}

/* `nbytes` is a whole number of elements. Each block is counted while it is in the cache. */
static void scan_bytes(struct task *task, const char *data, size_t nbytes)
{
    size_t size = itemsize(task->kind), n = nbytes / size, step = block_size(task->kind);
    for (size_t start = 0; start < n; start += step) {
        size_t here = n - start < step ? n - start : step;
        const char *block = data + start * size;
        if (task->with_moments)
            IMPLEMENTATIONS[task->isa](task->kind, block, here, &task->moments);
        if (task->table.obj)
            count(task->kind, block, here, task->table.buf);
    }
}

static PyObject *big_integer(wide value)
{
    PyObject *high = PyLong_FromLongLong((long long)(value >> 64));
    PyObject *low = PyLong_FromUnsignedLongLong((unsigned long long)value);
    PyObject *shift = PyLong_FromLong(64), *shifted = NULL, *whole = NULL;
    if (high && low && shift && (shifted = PyNumber_Lshift(high, shift)))
        whole = PyNumber_Or(shifted, low);
    Py_XDECREF(high);
    Py_XDECREF(low);
    Py_XDECREF(shift);
    Py_XDECREF(shifted);
    return whole;
}

/* The fields of a Sketch after its dtype, in order; None where only the counts were asked for. */
static PyObject *finish(struct task *task)
{
    const struct moments *m = &task->moments;
    if (task->table.obj)
        PyBuffer_Release(&task->table);
    if (!task->with_moments)
        Py_RETURN_NONE;
    PyObject *counts = Py_BuildValue("(LLLLLL)", (long long)m->count, (long long)m->zeros,
                                     (long long)m->nans, (long long)m->pos_infs,
                                     (long long)m->neg_infs, (long long)m->subnormals);
    PyObject *powers = Py_BuildValue("(ddddd)", m->m2, m->m3, m->m4,
                                     is_integer(task->kind) ? 0.0 : m->center,
                                     is_integer(task->kind) ? 0.0 : m->offset), *sums, *ends;
    double nan = Py_NAN;
    if (!finite_count(m))
        ends = Py_BuildValue("(dd)", nan, nan);
    else if (is_integer(task->kind))
        ends = Py_BuildValue("(NN)", big_integer(m->imin), big_integer(m->imax));
    else /* -0.0 + 0.0 is 0.0: the sign of a zero must not depend on the order */
        ends = Py_BuildValue("(dd)", m->min + 0.0, m->max + 0.0);
    if (is_integer(task->kind))
        sums = Py_BuildValue("(NN)", big_integer(m->isum), big_integer(m->il1));
    else
        sums = Py_BuildValue("(dd)", m->sum, m->l1);
    if (!counts || !powers || !ends || !sums) {
        Py_XDECREF(counts);
        Py_XDECREF(powers);
        Py_XDECREF(ends);
        Py_XDECREF(sums);
        return NULL;
    }
    return Py_BuildValue("(NNNN)", counts, sums, powers, ends);
}

static PyObject *core_scan(PyObject *self, PyObject *args)
{
    struct task task;
    PyObject *data, *table;
    Py_buffer view;
    (void)self;
    if (!PyArg_ParseTuple(args, "iipOO:scan", &task.kind, &task.isa, &task.with_moments, &table,
                          &data) ||
        !begin(&task, table))
        return NULL;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        if (task.table.obj)
            PyBuffer_Release(&task.table);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    scan_bytes(&task, view.buf, (size_t)view.len);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    return finish(&task);
}

/* Bytes read into `buffer`, fewer than `nbytes` only at the end of the file; -1 on an error. */
static ssize_t read_fully(int fd, char *buffer, size_t nbytes, off_t offset)
{
    size_t done = 0;
    while (done < nbytes) {
        ssize_t n = pread(fd, buffer + done, nbytes - done, offset + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static PyObject *core_scan_file(PyObject *self, PyObject *args)
{
    struct task task;
    PyObject *table, *scratch;
    Py_buffer buffer;
    int fd, failed = 0;
    long long offset, nbytes, done = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "iipOiLLO:scan_file", &task.kind, &task.isa, &task.with_moments,
                          &table, &fd, &offset, &nbytes, &scratch) ||
        !begin(&task, table))
        return NULL;
    if (PyObject_GetBuffer(scratch, &buffer, PyBUF_WRITABLE) < 0) {
        if (task.table.obj)
            PyBuffer_Release(&task.table);
        return NULL;
    }
    /* Whole blocks at a time, so that the partition is that of the data in one piece. */
    long long unit = (long long)(BLOCK * itemsize(task.kind));
    long long step = (long long)buffer.len / unit * unit;
    Py_BEGIN_ALLOW_THREADS
    while (step && done < nbytes) {
        long long want = nbytes - done < step ? nbytes - done : step;
        ssize_t got = read_fully(fd, buffer.buf, (size_t)want, (off_t)(offset + done));
        if (got < 0)
            failed = errno;
        if (got < want)
            break;
        scan_bytes(&task, buffer.buf, (size_t)got);
        done += got;
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&buffer);
    PyObject *moments = finish(&task);
    if (!step) {
        Py_XDECREF(moments);
        PyErr_SetString(PyExc_ValueError, "the scratch buffer is too small");
        return NULL;
    }
    if (failed) {
        Py_XDECREF(moments);
        errno = failed;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return moments ? Py_BuildValue("(LN)", done, moments) : NULL;
}

/* --- two sets of elements ------------------------------------------------------------------ */

static int can_compare(int kind, int isa)
{
    if (kind >= FLOAT64 && kind <= BFLOAT16 && isa >= 0 && isa <= best_isa())
        return 1;
    PyErr_SetString(PyExc_ValueError, "unknown kind of elements or instruction set");
    return 0;
}

static PyObject *told(const struct difference *d)
{
    return Py_BuildValue("(LLLddddd)", (long long)d->changed, (long long)d->nonfinite,
                         (long long)d->flips, d->most, d->aa, d->bb, d->ab, d->dd);
}

static PyObject *core_compare(PyObject *self, PyObject *args)
{
    struct difference found = {0};
    PyObject *a, *b, *result = NULL;
    Py_buffer left, right;
    int kind, isa;
    (void)self;
    if (!PyArg_ParseTuple(args, "iiOO:compare", &kind, &isa, &a, &b) || !can_compare(kind, isa) ||
        PyObject_GetBuffer(a, &left, PyBUF_SIMPLE) < 0)
        return NULL;
    if (PyObject_GetBuffer(b, &right, PyBUF_SIMPLE) == 0) {
        if (left.len != right.len) {
            PyErr_SetString(PyExc_ValueError, "the two are not of one size");
        } else {
            Py_BEGIN_ALLOW_THREADS
            DIFFERENCES[isa](kind, left.buf, right.buf, (size_t)left.len / itemsize(kind), &found);
            Py_END_ALLOW_THREADS
            result = told(&found);
        }
        PyBuffer_Release(&right);
    }
    PyBuffer_Release(&left);
    return result;
}

/* Where two files have the same bytes nothing is computed; how many elements before the first
 * difference those are is told. */
static PyObject *core_compare_files(PyObject *self, PyObject *args)
{
    struct difference found = {0};
    PyObject *scratch;
    Py_buffer buffer;
    int kind, isa, fds[2], failed = 0, differ = 0;
    long long offsets[2], nbytes, done = 0, equal = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "iiiLiLLO:compare_files", &kind, &isa, &fds[0], &offsets[0],
                          &fds[1], &offsets[1], &nbytes, &scratch) ||
        !can_compare(kind, isa) || PyObject_GetBuffer(scratch, &buffer, PyBUF_WRITABLE) < 0)
        return NULL;
    long long unit = (long long)(BLOCK * itemsize(kind));
    long long step = (long long)buffer.len / 2 / unit * unit;
    Py_BEGIN_ALLOW_THREADS
    while (step && done < nbytes && !failed) {
        size_t want = (size_t)(nbytes - done < step ? nbytes - done : step);
        char *sides[2] = {buffer.buf, (char *)buffer.buf + step};
        ssize_t got = 0;
        for (int side = 0; side < 2 && !failed; side++) {
            got = read_fully(fds[side], sides[side], want, (off_t)(offsets[side] + done));
            failed = got < 0 ? errno : got < (ssize_t)want ? -1 : 0;
        }
        if (failed)
            break;
        size_t n = want / itemsize(kind);
        differ = differ || memcmp(sides[0], sides[1], want) != 0;
        if (differ)
            DIFFERENCES[isa](kind, sides[0], sides[1], n, &found);
        else
            equal += (long long)n;
        done += (long long)want;
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&buffer);
    if (!step) {
        PyErr_SetString(PyExc_ValueError, "the scratch buffer is too small");
        return NULL;
    }
    if (failed > 0) {
        errno = failed;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return Py_BuildValue("(LLN)", done, equal, told(&found));
}

static PyObject *core_drain(PyObject *self, PyObject *args)
{
    struct task task = {.isa = BASELINE, .with_moments = 0};
    PyObject *table, *bins, *counts, *result = NULL;
    Py_buffer bin_view, count_view;
    (void)self;
    if (!PyArg_ParseTuple(args, "iOOO:drain", &task.kind, &table, &bins, &counts) ||
        !begin(&task, table))
        return NULL;
    if (!task.table.obj) {
        PyErr_SetString(PyExc_TypeError, "a table is needed");
        return NULL;
    }
    if (PyObject_GetBuffer(bins, &bin_view, PyBUF_WRITABLE) == 0) {
        if (PyObject_GetBuffer(counts, &count_view, PyBUF_WRITABLE) == 0) {
            size_t most = bin_count(task.kind);
            if ((size_t)bin_view.len < 4 * most || (size_t)count_view.len < 8 * most ||
                (uintptr_t)bin_view.buf % 4 || (uintptr_t)count_view.buf % 8) {
                PyErr_SetString(PyExc_ValueError, "there is no room for all bins");
            } else {
                size_t used;
                Py_BEGIN_ALLOW_THREADS
                used = drain(task.kind, task.table.buf, bin_view.buf, count_view.buf);
                Py_END_ALLOW_THREADS
                result = PyLong_FromSize_t(used);
            }
            PyBuffer_Release(&count_view);
        }
        PyBuffer_Release(&bin_view);
    }
    PyBuffer_Release(&task.table);
    return result;
}

static PyObject *core_sizes(PyObject *self, PyObject *args)
{
    int kind;
    (void)self;
    if (!PyArg_ParseTuple(args, "i:sizes", &kind))
        return NULL;
    if (kind < 0 || kind >= KINDS) {
        PyErr_SetString(PyExc_ValueError, "unknown kind of elements");
        return NULL;
    }
    return Py_BuildValue("(nn)", (Py_ssize_t)table_bytes(kind), (Py_ssize_t)bin_count(kind));
}

static PyObject *core_best(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyLong_FromLong(best_isa());
}

static PyMethodDef METHODS[] = {
    {"scan", core_scan, METH_VARARGS,
     "scan(kind, isa, with_moments, table, data): the moments of the elements in a buffer"},
    {"scan_file", core_scan_file, METH_VARARGS,
     "scan_file(kind, isa, with_moments, table, fd, offset, nbytes, scratch): (bytes, moments)"},
    {"compare", core_compare, METH_VARARGS,
     "compare(kind, isa, a, b): (changed, nonfinite, flips, most, aa, bb, ab, dd)"},
    {"compare_files", core_compare_files, METH_VARARGS,
     "compare_files(kind, isa, fd_a, offset_a, fd_b, offset_b, nbytes, scratch): (bytes, elements "
     "before the first difference, as compare)"},
    {"drain", core_drain, METH_VARARGS, "drain(kind, table, bins, counts): how many bins"},
    {"sizes", core_sizes, METH_VARARGS, "sizes(kind): (bytes of a table, number of bins)"},
    {"best", core_best, METH_NOARGS, "best(): the best instruction set of this processor"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {
#if defined(Py_GIL_DISABLED)
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* nothing here is shared between calls */
#endif
    {0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_core", "The compiled core of wtools.sketch.", 0,
    METHODS, SLOTS, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&MODULE);
}
