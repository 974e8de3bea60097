/* Threads for the time of one call. */
#ifndef CATERVA_CFFI_THREADS_H
#define CATERVA_CFFI_THREADS_H

#include <stddef.h>

#include "kernel.h"

/* A kind of work, done by threads as tasks. */
typedef struct {
  /* Do the number-th task. Returns 0, or an error code, which stops all others; then `where` may be
   * written too. `own` is the thread's own memory. */
  int (*task)(void *state, void *own, int64_t number, cat_where *where);

  /* Bytes of a thread's own memory; 0 for none. They are zeros at first; then `begin` makes them ready,
   * unless it is NULL. `end` frees what they hold, even if `begin` failed. */
  size_t own_size;
  int (*begin)(void *state, void *own);
  void (*end)(void *own);
} cat_work;

/* Run tasks 0 to n - 1, in the calling thread and up to nthreads - 1 more. If nthreads is 0, use the
 * free ones of the threads that all calls share. `own` is the calling thread's own memory, which it
 * keeps afterwards; with NULL it gets some for this call, like the other threads. Returns 0, or the
 * error of the first task that failed; then `where` is written. */
int cat_run(const cat_work *work, void *state, int64_t n, int nthreads, void *own,
            cat_where *where);

#endif
