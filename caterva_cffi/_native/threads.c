#define _POSIX_C_SOURCE 200809L /* pthread_sigmask, clock_gettime */

#include "threads.h"

#include <stdlib.h>

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

/* What the threads of one call do. */
typedef struct {
  const cat_work *kind;
  void *state;
  int64_t n;
  mutex lock;
  int64_t next;
  int64_t failed; /* the first task that failed, or n */
  int error;
  cat_where where;
} crew;

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
static THREAD_LOCAL crew *outer = NULL;

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

/* Make what a thread has of its own. Returns 0 or an error code; call `end_own` in any case. */
static int begin_own(const cat_work *kind, void *state, void **own) {
  *own = NULL;
  if (kind->own_size == 0) {
    return 0;
  }
  *own = calloc(1, kind->own_size);
  if (*own == NULL) {
    return CAT_ERROR_MEMORY;
  }
  return kind->begin == NULL ? 0 : kind->begin(state, *own);
}

static void end_own(const cat_work *kind, void *own) {
  if (own != NULL) {
    kind->end(own);
    free(own);
  }
}

static void fail(crew *all, int64_t number, int error, const cat_where *where) {
  lock(&all->lock);
  if (number < all->failed) {
    all->failed = number;
    all->error = error;
    all->where = *where;
  }
  unlock(&all->lock);
}

/* Take one task after the other that no thread has taken, until none is left. */
static void run_beside(crew *all, void *own) {
  crew *before = outer;
  int64_t next_look = first_look();
  outer = all;
  for (;;) {
    lock(&all->lock);
    int64_t number = all->next < all->failed ? all->next++ : all->n;
    unlock(&all->lock);
    if (number >= all->n) {
      break;
    }
    cat_where where = {-1, -1, 0};
    int error = all->kind->task(all->state, own, number, &where);
    if (!error && is_interrupted(&next_look)) {
      error = CAT_ERROR_INTERRUPTED;
    }
    if (error == CAT_ERROR_INTERRUPTED) {
      number = -1; /* before all others */
    }
    if (error) {
      fail(all, number, error, &where);
    }
  }
  outer = before;
}

/* Do tasks with what the thread has of its own, which is made first if it is NULL. Returns the error of
 * that, not of the tasks. */
static int take_part(crew *all, void *own) {
  void *made = NULL;
  int error = own == NULL ? begin_own(all->kind, all->state, &made) : 0;
  if (!error) {
    run_beside(all, own == NULL ? made : own);
  }
  end_own(all->kind, made);
  return error;
}

/* A further thread. If there is no memory for what it needs, others do its work. */
static ENTRY help(void *given) {
  (void)take_part(given, NULL);
  return 0;
}

static int run_together(const cat_work *kind, void *state, int64_t n, int nthreads, void *own,
                        cat_where *where) {
  int most = n < MAX_THREADS ? (int)n : MAX_THREADS;
  /* The calling thread is one of the shared ones, also where none is free any more. */
  int shared = nthreads > 0 ? 0 : claim(most);
  int total = nthreads > 0 ? (nthreads < most ? nthreads : most) : shared;
  crew all = {.kind = kind, .state = state, .n = n, .failed = n};
  thread threads[MAX_THREADS];
  int started = 0;
  init_mutex(&all.lock);
  /* Where no thread can be had, those that run do all the work. */
  while (started < total - 1 && start(&threads[started], help, &all) == 0) {
    started++;
  }
  int error = take_part(&all, own);
  if (error) {
    fail(&all, -1, error, &(cat_where){-1, -1, 0});
  }
  for (int i = 0; i < started; i++) {
    join(threads[i]);
  }
  free_mutex(&all.lock);
  ADD(&busy, -shared);
  if (all.error) {
    *where = all.where;
  }
  return all.error;
}

static int run_alone(const cat_work *kind, void *state, int64_t n, void *own, cat_where *where) {
  void *made = NULL;
  int error = own == NULL ? begin_own(kind, state, &made) : 0;
  int64_t next_look = n > 1 ? first_look() : INT64_MAX;
  own = own == NULL ? made : own;
  for (int64_t number = 0; !error && number < n; number++) {
    if (number && (is_interrupted(&next_look) || is_stopped())) {
      error = CAT_ERROR_INTERRUPTED;
    } else {
      error = kind->task(state, own, number, where);
    }
  }
  end_own(kind, made);
  return error;
}

int cat_run(const cat_work *work, void *state, int64_t n, int nthreads, void *own,
            cat_where *where) {
  return n <= 1 || nthreads == 1 ? run_alone(work, state, n, own, where)
                                 : run_together(work, state, n, nthreads, own, where);
}
