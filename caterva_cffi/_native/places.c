#include "places.h"

#include <stdlib.h>

#include "sync.h"

struct places {
  mutex lock;
  condition found;
  int64_t n;
  int64_t limit;
  int64_t next;   /* the first task that has not ended; its place is known */
  int64_t stop;   /* no task behind this one gets a place */
  int64_t *sizes; /* of the results, -1 before a task has ended; places in front of `next` */
  int64_t end;    /* of the results in front of `next` */
};

places *cat_new_places(int64_t n, int64_t start, int64_t limit) {
  places *p = calloc(1, sizeof *p);
  int64_t *sizes = malloc((size_t)(n > 0 ? n : 1) * sizeof *sizes);
  if (p == NULL || sizes == NULL) {
    free(p);
    free(sizes);
    return NULL;
  }
  for (int64_t task = 0; task < n; task++) {
    sizes[task] = -1;
  }
  init_mutex(&p->lock);
  init_condition(&p->found);
  p->n = p->stop = n;
  p->limit = limit;
  p->sizes = sizes;
  p->end = start;
  return p;
}

void cat_free_places(places *p) {
  if (p != NULL) {
    free_condition(&p->found);
    free_mutex(&p->lock);
    free(p->sizes);
    free(p);
  }
}

void cat_end_task(places *p, int64_t task, int64_t size) {
  lock(&p->lock);
  p->sizes[task] = size;
  while (p->next < p->stop && p->sizes[p->next] >= 0) {
    int64_t place = p->end;
    p->end += p->sizes[p->next];
    p->sizes[p->next] = place;
    if (p->end > p->limit) {
      p->stop = p->next; /* not even this one */
    } else {
      p->next++;
    }
  }
  wake_all(&p->found);
  unlock(&p->lock);
}

void cat_fail_task(places *p, int64_t task) {
  lock(&p->lock);
  p->stop = task < p->stop ? task : p->stop;
  wake_all(&p->found);
  unlock(&p->lock);
}

int64_t cat_find_place(places *p, int64_t task, int wait) {
  lock(&p->lock);
  while (wait && task < p->stop && task > p->next) {
    wait_for(&p->found, &p->lock);
  }
  int64_t place = task > p->stop || (task == p->stop && p->end > p->limit) ? PLACE_NEVER
                  : task > p->next                                       ? PLACE_UNKNOWN
                  : task < p->next                                       ? p->sizes[task]
                                                                         : p->end;
  unlock(&p->lock);
  return place;
}

int64_t cat_end_of_places(const places *p) { return p->end > p->limit ? 0 : p->end; }
