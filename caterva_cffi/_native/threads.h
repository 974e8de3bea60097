/* Threads for the time of one call. */
#ifndef CATERVA_CFFI_THREADS_H
#define CATERVA_CFFI_THREADS_H

#include "kernel.h"

/* Does one piece of work; returns 0, or an error code that stops the others and where the error is.
 * `own` is the thread's: NULL before its first task. */
typedef int (*cat_task)(void *state, void **own, int64_t number, cat_where *where);

/* Run tasks 0 to n - 1, in the calling thread and up to nthreads - 1 more, or for 0, in as many as
 * are free of those that all calls share. `release` frees what each thread has of its own. Returns 0
 * or the error of the first task that failed; `where` is written then. */
int cat_run(cat_task task, void (*release)(void *own), void *state, int64_t n, int nthreads,
            cat_where *where);

#endif
