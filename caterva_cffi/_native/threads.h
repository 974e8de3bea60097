/* Threads for the time of one call. */
#ifndef CATERVA_CFFI_THREADS_H
#define CATERVA_CFFI_THREADS_H

#include <stddef.h>

#include "kernel.h"

/* A kind of work, done in pieces by threads. */
typedef struct {
  /* Do the number-th piece. Returns 0, or an error code that stops the others; then `where` may be
   * written too. `own` is what the thread has of its own. */
  int (*task)(void *state, void *own, int64_t number, cat_where *where);

  /* How many bytes of its own a thread has; 0 for none. They are zeros at first, then `begin` makes
   * them ready, unless that is NULL. `end` frees what they hold, also where `begin` failed. */
  size_t own_size;
  int (*begin)(void *state, void *own);
  void (*end)(void *own);
} cat_work;

/* Run tasks 0 to n - 1, in the calling thread and up to nthreads - 1 more, or for 0, in as many as
 * are free of those that all calls share. `own` is what the calling thread has of its own already, and
 * keeps; NULL gives it its own for this call, as the other threads get theirs. Returns 0 or the error of
 * the first task that failed; `where` is written then. */
int cat_run(const cat_work *work, void *state, int64_t n, int nthreads, void *own,
            cat_where *where);

#endif
