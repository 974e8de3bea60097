#define _POSIX_C_SOURCE 200809L /* pthread_sigmask */

#include "threads.h"

#include <stddef.h>

#include "kernel.h"
#include "sync.h"

#ifdef _WIN32
typedef volatile LONG counter;
#define LOAD(c) InterlockedCompareExchange((c), 0, 0)
#define STORE(c, value) InterlockedExchange((c), (value))
#define ADD(c, value) InterlockedExchangeAdd((c), (value))
static int replace(counter *c, int old, int new) {
  return InterlockedCompareExchange(c, new, old) == old;
}
typedef HANDLE thread;
#define ENTRY DWORD WINAPI
static int start(thread *t, LPTHREAD_START_ROUTINE entry, void *state) {
  *t = CreateThread(NULL, 0, entry, state, 0, NULL);
  return *t == NULL;
}
static void join(thread t) {
  WaitForSingleObject(t, INFINITE);
  CloseHandle(t);
}
#else
#include <signal.h>
#include <stdatomic.h>
typedef atomic_int counter;
#define LOAD(c) atomic_load(c)
#define STORE(c, value) atomic_store((c), (value))
#define ADD(c, value) atomic_fetch_add((c), (value))
static int replace(counter *c, int old, int new) {
  return atomic_compare_exchange_strong(c, &old, new);
}
typedef pthread_t thread;
#define ENTRY void *
static int start(thread *t, void *(*entry)(void *), void *state) {
  /* Signals belong to Python's threads. */
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int error = pthread_create(t, NULL, entry, state);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return error;
}
static void join(thread t) { pthread_join(t, NULL); }
#endif

enum { MAX_THREADS = 256 };

static counter limit = 1; /* threads that calls share */
static counter busy = 0;  /* of these, at work */

int cat_get_nthreads(void) { return (int)LOAD(&limit); }

void cat_set_nthreads(int n) { STORE(&limit, n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n); }

void cat_reset_threads(void) { STORE(&busy, 0); }

/* Take up to `wanted` of the shared threads; returns how many. */
static int claim(int wanted) {
  for (;;) {
    int taken = (int)LOAD(&busy), free = (int)LOAD(&limit) - taken;
    int n = free < wanted ? free : wanted;
    if (n <= 0) {
      return 0;
    }
    if (replace(&busy, taken, taken + n)) {
      return n;
    }
  }
}

typedef struct {
  cat_task task;
  void (*release)(void *own);
  void *state;
  int64_t n;
  mutex lock;
  int64_t next;
  int64_t failed; /* the first task that failed, or n */
  int error;
  cat_where where;
} work;

static ENTRY run(void *given) {
  work *w = given;
  void *own = NULL;
  for (;;) {
    lock(&w->lock);
    int64_t number = w->next < w->failed ? w->next++ : w->n;
    unlock(&w->lock);
    if (number >= w->n) {
      w->release(own);
      return 0;
    }
    cat_where where = {-1, -1};
    int error = w->task(w->state, &own, number, &where);
    if (error) {
      lock(&w->lock);
      if (number < w->failed) {
        w->failed = number;
        w->error = error;
        w->where = where;
      }
      unlock(&w->lock);
    }
  }
}

static int run_alone(cat_task task, void (*release)(void *own), void *state, int64_t n,
                     cat_where *where) {
  void *own = NULL;
  int error = 0;
  for (int64_t number = 0; !error && number < n; number++) {
    error = task(state, &own, number, where);
  }
  release(own);
  return error;
}

int cat_run(cat_task task, void (*release)(void *own), void *state, int64_t n, int nthreads,
            cat_where *where) {
  int most = n < MAX_THREADS ? (int)n : MAX_THREADS;
  if (most <= 1 || nthreads == 1) {
    return run_alone(task, release, state, n, where);
  }
  /* The calling thread is one of the shared ones, also where none is free any more. */
  int shared = nthreads > 0 ? 0 : claim(most);
  int total = nthreads > 0 ? (nthreads < most ? nthreads : most) : shared;
  work w = {.task = task, .release = release, .state = state, .n = n, .failed = n};
  thread threads[MAX_THREADS];
  int started = 0;
  init_mutex(&w.lock);
  /* Where no thread can be had, those that run do all the work. */
  while (started < total - 1 && start(&threads[started], run, &w) == 0) {
    started++;
  }
  run(&w);
  for (int i = 0; i < started; i++) {
    join(threads[i]);
  }
  free_mutex(&w.lock);
  ADD(&busy, -shared);
  if (w.error) {
    *where = w.where;
  }
  return w.error;
}
