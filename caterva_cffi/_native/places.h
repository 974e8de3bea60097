/* Places of the results of tasks that run at the same time, one behind the other in memory. */
#ifndef CATERVA_CFFI_PLACES_H
#define CATERVA_CFFI_PLACES_H

#include <stdint.h>

typedef struct places places;

enum { PLACE_UNKNOWN = -1, PLACE_NEVER = -2 };

/* For results of tasks 0 to n - 1 from `start` on, which may not go beyond `limit`. NULL where there is
 * no memory. */
places *cat_new_places(int64_t n, int64_t start, int64_t limit);
void cat_free_places(places *p);

/* A task has ended with a result of so many bytes, or has failed. */
void cat_end_task(places *p, int64_t task, int64_t size);
void cat_fail_task(places *p, int64_t task);

/* Where a task's result goes; unknown before those of all tasks ahead of it have ended, for which
 * `wait` waits; never where one of them failed or results go beyond the limit. Tasks have to be
 * started in order. */
int64_t cat_find_place(places *p, int64_t task, int wait);

/* Where the last result ends, when all tasks have ended, or 0 if they go beyond the limit. */
int64_t cat_end_of_places(const places *p);

#endif
