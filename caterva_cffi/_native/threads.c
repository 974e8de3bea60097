#define _POSIX_C_SOURCE 200809L /* pthread_sigmask, clock_gettime */

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
#ifdef _MSC_VER
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL _Thread_local
#endif
static uintptr_t this_thread(void) { return GetCurrentThreadId(); }
static int64_t milliseconds(void) { return (int64_t)GetTickCount64(); }
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
#include <time.h>
typedef atomic_int counter;
#define LOAD(c) atomic_load(c)
#define STORE(c, value) atomic_store((c), (value))
#define ADD(c, value) atomic_fetch_add((c), (value))
static int replace(counter *c, int old, int new) {
  return atomic_compare_exchange_strong(c, &old, new);
}
typedef pthread_t thread;
#define ENTRY void *
#define THREAD_LOCAL _Thread_local
static uintptr_t this_thread(void) { return (uintptr_t)pthread_self(); }
static int64_t milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
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

enum { MAX_THREADS = 256, PATIENCE = 50 /* milliseconds between two looks for an interrupt */ };

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

/* --- interrupts ------------------------------------------------------------------------------- */

static int (*interrupted)(void) = NULL;
static uintptr_t interruptible = 0; /* the thread that asks */

void cat_set_interruptible(uint64_t thread, int (*ask)(void)) {
  interruptible = (uintptr_t)thread;
  interrupted = ask;
}

/* When the calling thread may ask next; never, where it is another than the interruptible one. */
static int64_t first_look(void) {
  return interrupted && this_thread() == interruptible ? milliseconds() + PATIENCE : INT64_MAX;
}

static int is_interrupted(int64_t *next) {
  if (*next == INT64_MAX || milliseconds() < *next) {
    return 0;
  }
  if (interrupted()) {
    return 1;
  }
  *next = milliseconds() + PATIENCE;
  return 0;
}

/* What this thread works for: calls inside tasks stop with it. */
static THREAD_LOCAL work *outer = NULL;

static int is_stopped(void) {
  if (!outer) {
    return 0;
  }
  lock(&outer->lock);
  int stopped = outer->error == CAT_ERROR_INTERRUPTED;
  unlock(&outer->lock);
  return stopped;
}

/* --- running ---------------------------------------------------------------------------------- */

static void fail(work *w, int64_t number, int error, const cat_where *where) {
  lock(&w->lock);
  if (number < w->failed) {
    w->failed = number;
    w->error = error;
    w->where = *where;
  }
  unlock(&w->lock);
}

static ENTRY run(void *given) {
  work *w = given;
  void *own = NULL;
  work *before = outer;
  int64_t next_look = first_look();
  outer = w;
  for (;;) {
    lock(&w->lock);
    int64_t number = w->next < w->failed ? w->next++ : w->n;
    unlock(&w->lock);
    if (number >= w->n) {
      w->release(own);
      outer = before;
      return 0;
    }
    cat_where where = {-1, -1};
    int error = w->task(w->state, &own, number, &where);
    if (!error && is_interrupted(&next_look)) {
      error = CAT_ERROR_INTERRUPTED;
    }
    if (error == CAT_ERROR_INTERRUPTED) {
      number = -1; /* before all others */
    }
    if (error) {
      fail(w, number, error, &where);
    }
  }
}

static int run_alone(cat_task task, void (*release)(void *own), void *state, int64_t n,
                     cat_where *where) {
  void *own = NULL;
  int error = 0;
  int64_t next_look = n > 1 ? first_look() : INT64_MAX;
  for (int64_t number = 0; !error && number < n; number++) {
    if (number && (is_interrupted(&next_look) || is_stopped())) {
      error = CAT_ERROR_INTERRUPTED;
    } else {
      error = task(state, &own, number, where);
    }
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
