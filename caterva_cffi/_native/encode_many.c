/* Chunks of one grid, compressed in one call. */
#include <stdlib.h>

#include "compress.h"
#include "encode.h"
#include "order.h"
#include "threads.h"

enum { SMALL = 1024 * 1024 /* bytes of a chunk that threads would not share out well */ };

typedef struct {
  const cat_grid *grid;
  const cat_compression *compression;
  geometry g;
  int32_t *order; /* of the blocks of each; NULL for C order */
  int in_blocks;
  cat_source *sources;
  int nthreads; /* of one chunk */
} batch;

/* What a thread keeps from one chunk to the next. */
typedef struct {
  packer *packer;
} kept_packer;

static void end_kept(void *given) {
  kept_packer *own = given;
  cat_free_packer(own->packer);
}

static int encode_one(void *state, void *given, int64_t number, cat_where *where) {
  const batch *all = state;
  kept_packer *own = given;
  cat_source *s = &all->sources[number];
  encoder enc = {.grid = all->grid, .compression = all->compression, .g = all->g,
                 .order = all->order, .dest = s->dest};
  enc.source = cat_find_source(&enc.g, s->src, s->strides, s->extent, enc.order == NULL);
  enc.ngroups = cat_count_groups(&enc.source);
  int64_t size = all->in_blocks ? cat_encode_blocks(&enc, all->nthreads, &own->packer, where)
                                : cat_encode_whole(&enc, all->nthreads, where);
  if (size < 0) {
    where->chunk = number;
    return (int)size;
  }
  s->cbytes = size;
  return 0;
}

/* Returns 0 or an error code; then `where` says which source is wrong, if one is. */
static int check_sources(batch *all, int64_t n, cat_where *where) {
  int error = cat_check_compression(all->grid, all->compression, INT64_MAX, &all->g);
  int64_t bound = error ? 0 : cat_encode_bound(all->grid);
  for (int64_t i = 0; !error && i < n; i++) {
    const cat_source *s = &all->sources[i];
    error = s->destsize < bound ? CAT_ERROR_TRUNCATED : 0;
    for (int d = 0; !error && d < all->g.ndim; d++) {
      error = s->extent[d] < 0 || s->extent[d] > all->grid->chunk[d] ? CAT_ERROR_GEOMETRY : 0;
    }
    where->chunk = error ? i : -1;
  }
  return error;
}

int cat_encode_many(const cat_grid *grid, const cat_compression *compression, cat_source *sources,
                    int64_t n, int nthreads, cat_where *where) {
  static const cat_work work = {encode_one, sizeof(kept_packer), NULL, end_kept};
  batch all = {.grid = grid, .compression = compression, .sources = sources};
  *where = (cat_where){-1, -1, 0};
  int error = check_sources(&all, n, where);
  if (error) {
    return error;
  }
  all.in_blocks = cat_in_blocks(&all.g, compression);
  if (all.in_blocks && (error = cat_find_order(&all.g, &all.order))) {
    return error;
  }
  /* Threads share out chunks where there are enough of them, and blocks where there are not. */
  int64_t most = nthreads > 0 ? nthreads : cat_get_nthreads();
  int share_chunks = n >= 2 * most || (n > 1 && all.g.nbytes <= SMALL);
  all.nthreads = share_chunks ? 1 : nthreads;
  error = cat_run(&work, &all, n, share_chunks ? nthreads : 1, NULL, where);
  free(all.order);
  return error;
}
