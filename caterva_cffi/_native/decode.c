#include "decode.h"
#include "threads.h"

enum {
  TASKS = 4,       /* of each thread, so that none waits long for the others */
  MOST_PARTS = 64, /* of a task */
  FEW_BYTES = 16 * DECODE_TASK_BYTES,
};

typedef struct {
  const cat_grid *grid;
  geometry g;
  const cat_part *parts;
  int64_t nparts;
  int64_t some; /* parts of a task */
  int nthreads; /* of one part */
} decode_call;

static int decode_some(void *state, void *given, int64_t number, cat_where *where) {
  const decode_call *all = state;
  scratch *own = given;
  int64_t first = number * all->some, stop = first + all->some;
  stop = stop < all->nparts ? stop : all->nparts;
  int error = 0;
  for (int64_t i = first; !error && i < stop; i++) {
    own->ahead = &all->parts[i + 1];
    own->nahead = stop - i - 1;
    own->parts_end = all->parts + all->nparts;
    error = cat_decode_part(all->grid, &all->g, &all->parts[i], all->nthreads, own, where);
    where->chunk = error ? i : -1;
  }
  return error;
}

/* How many bytes the blocks have that parts have items in; where there are more than `bytes`, not all are
 * counted. */
static int64_t count_bytes(const geometry *g, const cat_part *parts, int64_t nparts, int64_t bytes) {
  int64_t blocks = 0, most = bytes / g->blocksize + 1;
  for (int64_t i = 0; i < nparts && blocks < most; i++) {
    const cat_box *box = &parts[i].box;
    if (!cat_check_box(box, g->ndim, g->chunk) && !cat_is_empty(box, g->ndim)) {
      blocks += cat_cut(box, g->ndim, g->block, g->blocks).n;
    }
  }
  return blocks * g->blocksize;
}

int cat_decode(const cat_grid *grid, const cat_part *parts, int64_t nparts, int nthreads,
               cat_where *where) {
  static const cat_work work = {decode_some, sizeof(scratch), NULL, cat_free_scratch};
  decode_call all = {.grid = grid, .parts = parts, .nparts = nparts, .nthreads = nthreads};
  *where = (cat_where){-1, -1, 0};
  int error = cat_find_geometry(grid, &all.g);
  if (error) {
    return error;
  }
  /* Threads share out parts where there are enough of them, and blocks where there are not. Where there is
   * little to do, to start threads for each part would take longer than to wait for the last one. */
  int64_t most = nthreads > 0 ? nthreads : cat_get_nthreads();
  int enough = nparts >= 2 * most;
  int64_t bytes = most > 1 && nparts >= most
                      ? count_bytes(&all.g, parts, nparts, enough ? DECODE_TASK_BYTES : FEW_BYTES)
                      : 0;
  int share_parts = bytes > DECODE_TASK_BYTES && (enough || bytes <= FEW_BYTES);
  all.nthreads = share_parts ? 1 : nthreads;
  all.some = !share_parts ? MOST_PARTS : nparts / (TASKS * most) + 1;
  all.some = all.some < MOST_PARTS ? all.some : MOST_PARTS;
  int64_t tasks = (nparts + all.some - 1) / all.some;
  scratch own = {0};
  error = cat_run(&work, &all, tasks, share_parts ? nthreads : 1, &own, where);
  cat_free_scratch(&own);
  return error;
}
