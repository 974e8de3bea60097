/* Locks and conditions of the operating system. */
#ifndef CATERVA_CFFI_SYNC_H
#define CATERVA_CFFI_SYNC_H

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
typedef CRITICAL_SECTION mutex;
static inline void init_mutex(mutex *m) { InitializeCriticalSection(m); }
static inline void free_mutex(mutex *m) { DeleteCriticalSection(m); }
static inline void lock(mutex *m) { EnterCriticalSection(m); }
static inline void unlock(mutex *m) { LeaveCriticalSection(m); }
typedef CONDITION_VARIABLE condition;
static inline void init_condition(condition *c) { InitializeConditionVariable(c); }
static inline void free_condition(condition *c) { (void)c; }
static inline void wait_for(condition *c, mutex *m) { SleepConditionVariableCS(c, m, INFINITE); }
static inline void wake_all(condition *c) { WakeAllConditionVariable(c); }
#else
#include <pthread.h>
typedef pthread_mutex_t mutex;
static inline void init_mutex(mutex *m) { pthread_mutex_init(m, NULL); }
static inline void free_mutex(mutex *m) { pthread_mutex_destroy(m); }
static inline void lock(mutex *m) { pthread_mutex_lock(m); }
static inline void unlock(mutex *m) { pthread_mutex_unlock(m); }
typedef pthread_cond_t condition;
static inline void init_condition(condition *c) { pthread_cond_init(c, NULL); }
static inline void free_condition(condition *c) { pthread_cond_destroy(c); }
static inline void wait_for(condition *c, mutex *m) { pthread_cond_wait(c, m); }
static inline void wake_all(condition *c) { pthread_cond_broadcast(c); }
#endif

#endif
