/* Where the results of tasks go that run at the same time: one behind the other in memory. */
#ifndef CATERVA_CFFI_PLACES_H
#define CATERVA_CFFI_PLACES_H

#include <stdint.h>

typedef struct places places;

enum { PLACE_UNKNOWN = -1, PLACE_NEVER = -2 };

/* Places from `start` to `limit`, for the results of tasks 0 to n - 1. NULL without memory. */
places *cat_new_places(int64_t n, int64_t start, int64_t limit);
void cat_free_places(places *p);

/* A task has ended with a result of so many bytes, or has failed. */
void cat_end_task(places *p, int64_t task, int64_t size);
void cat_fail_task(places *p, int64_t task);

/* Where a task's result goes. PLACE_UNKNOWN before all tasks ahead of it have ended, unless `wait` is
 * set: then it waits for them. PLACE_NEVER if one of them failed, or if the results go beyond the
 * limit. Tasks must be started in order. */
int64_t cat_find_place(places *p, int64_t task, int wait);

/* Where the last result ends, once all tasks have ended; 0 if the results go beyond the limit. */
int64_t cat_end_of_places(const places *p);

#endif
