#include "decode.h"
#include "threads.h"

typedef struct {
  const cat_grid *grid;
  geometry g;
  const cat_part *parts;
  int nthreads; /* of one part */
} batch;

static int decode_one(void *state, void *own, int64_t number, cat_where *where) {
  const batch *all = state;
  const cat_part *part = &all->parts[number];
  int error = cat_decode_part(all->grid, &all->g, part, all->nthreads, own, where);
  where->chunk = error ? number : -1;
  return error;
}

/* How many bytes the blocks have that parts have items in; no more are counted than matter. */
static int64_t count_bytes(const geometry *g, const cat_part *parts, int64_t nparts) {
  int64_t blocks = 0, most = SLAB_BYTES / g->blocksize + 1;
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
  static const cat_work work = {decode_one, sizeof(scratch), NULL, cat_free_scratch};
  batch all = {.grid = grid, .parts = parts, .nthreads = nthreads};
  *where = (cat_where){-1, -1, 0};
  int error = cat_find_geometry(grid, &all.g);
  if (error) {
    return error;
  }
  /* Threads share out parts where there are enough of them, and blocks where there are not. */
  int64_t most = nthreads > 0 ? nthreads : cat_get_nthreads();
  int share_parts = nparts >= 2 * most && most > 1 && count_bytes(&all.g, parts, nparts) > SLAB_BYTES;
  all.nthreads = share_parts ? 1 : nthreads;
  scratch own = {0};
  error = cat_run(&work, &all, nparts, share_parts ? nthreads : 1, &own, where);
  cat_free_scratch(&own);
  return error;
}
