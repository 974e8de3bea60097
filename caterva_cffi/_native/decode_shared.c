/* Boxes of chunks that overlap: each block is decoded once for all boxes that have items in it. */
#include <stdlib.h>

#include "decode.h"
#include "order.h"
#include "threads.h"

typedef struct {
  const cat_grid *grid;
  geometry g;
  const cat_part *parts;
  int64_t nparts;
  block_use *uses; /* the parts of a chunk follow each other; in them, the uses of a block do */
  int64_t nuses;
  int64_t *tasks; /* the first use of each task, and the number of uses */
  int64_t ntasks;
} shared;

static int same_chunk(const cat_part *a, const cat_part *b) {
  return a->place == b->place && a->pieces == b->pieces && a->npieces == b->npieces;
}

static int compare_uses(const void *a, const void *b) {
  const block_use *x = a, *y = b;
  return x->key != y->key ? (x->key > y->key) - (x->key < y->key)
                          : (x->part > y->part) - (x->part < y->part);
}

/* How many blocks a part has items in, or an error code. */
static int64_t count_uses(const geometry *g, const cat_part *part) {
  int error = cat_check_box(&part->box, g->ndim, g->chunk);
  return error                                ? error
         : cat_is_empty(&part->box, g->ndim) ? 0
                                              : cat_cut(&part->box, g->ndim, g->block, g->blocks).n;
}

/* Write down the uses of each part; those of a chunk are sorted. Of a file, neighbours in the order of
 * writers are read together; in memory any order will do. */
static void fill_uses(shared *all) {
  static const int64_t still[CAT_MAX_DIM] = {0};
  static const block_curve no_curve = {0};
  const geometry *g = &all->g;
  const block_curve curve = cat_find_curve(g);
  block_use *use = all->uses, *first = use;
  for (int64_t i = 0; i < all->nparts; i++) {
    const cat_part *part = &all->parts[i];
    if (i > 0 && !same_chunk(part, part - 1)) {
      qsort(first, (size_t)(use - first), sizeof *use, compare_uses);
      first = use;
    }
    if (cat_is_empty(&part->box, g->ndim)) {
      continue;
    }
    cutting cut = cat_cut(&part->box, g->ndim, g->block, g->blocks);
    const block_curve *order = part->place == NULL ? &no_curve : &curve;
    for (int64_t k = 0; k < cut.n; k++) {
      cut_box found;
      cat_find_cut_box(&cut, k, still, &found);
      *use++ = (block_use){i, k, found.number, cat_find_key(g, order, found.number)};
    }
  }
  qsort(first, (size_t)(use - first), sizeof *use, compare_uses);
}

static int list_uses(shared *all, cat_where *where) {
  const geometry *g = &all->g;
  for (int64_t i = 0; i < all->nparts; i++) {
    int64_t n = count_uses(g, &all->parts[i]);
    if (n < 0) {
      where->chunk = i;
      return (int)n;
    }
    all->nuses += n;
  }
  all->uses = malloc((size_t)(all->nuses + 1) * sizeof *all->uses);
  all->tasks = malloc((size_t)(all->nuses + 1) * sizeof *all->tasks);
  if (all->uses == NULL || all->tasks == NULL) {
    return CAT_ERROR_MEMORY;
  }
  fill_uses(all);
  return 0;
}

/* Whether two uses are of the same chunk. */
static int share_chunk(const shared *all, const block_use *a, const block_use *b) {
  return same_chunk(&all->parts[a->part], &all->parts[b->part]);
}

/* How many of `n` uses are of the first one's block. */
static int64_t count_same(const shared *all, const block_use *uses, int64_t n) {
  int64_t same = 1;
  while (same < n && uses[same].block == uses->block && share_chunk(all, &uses[same], uses)) {
    same++;
  }
  return same;
}

/* Cut the uses into tasks; all uses of a block are in one. */
static void cut_tasks(shared *all) {
  int64_t most = DECODE_TASK_BYTES / all->g.blocksize + 1;
  for (int64_t i = 0; i < all->nuses;) {
    int64_t first = all->tasks[all->ntasks++] = i;
    while (i < all->nuses && i - first < most) {
      i += count_same(all, all->uses + i, all->nuses - i);
    }
  }
  all->tasks[all->ntasks] = all->nuses;
}

/* Get ready to decode the blocks of the first use's chunk. */
static int begin_chunk(const shared *all, scratch *own, const block_use *uses, int64_t n,
                       cat_where *where) {
  decoder dec = {.grid = all->grid, .g = &all->g, .part = &all->parts[uses->part],
                 .chunk = &own->chunk};
  own->nuses = 0;
  while (own->nuses < n && share_chunk(all, &uses[own->nuses], uses)) {
    own->nuses++;
  }
  int error = cat_know_chunk(&dec, own, where);
  if (error || own->chunk.head.kind == CHUNK_OF_ONE_VALUE) {
    return error;
  }
  error = cat_prepare_chunk(&dec, own, own->nuses, where);
  int from_memory = own->chunk.whole != NULL || own->chunk.head.kind == CHUNK_STORED;
  return error || from_memory ? error : cat_prepare_scratch(&dec, own);
}

/* A chunk of one value has no blocks: the first use of a part fills it. */
static int fill_parts(const shared *all, const scratch *own, const block_use *uses, int64_t n) {
  int error = 0;
  for (int64_t i = 0; !error && i < n; i++) {
    decoder dec = {.grid = all->grid, .g = &all->g, .part = &all->parts[uses[i].part],
                   .chunk = &own->chunk};
    error = uses[i].i == 0 ? cat_fill_part(&dec) : 0;
  }
  return error;
}

static int decode_uses(void *state, void *given, int64_t number, cat_where *where) {
  const shared *all = state;
  scratch *own = given;
  int64_t i = all->tasks[number], stop = all->tasks[number + 1];
  int error = 0;
  own->parts = all->parts;
  own->parts_end = all->parts + all->nparts;
  own->first_use = all->uses;
  own->uses_stop = all->nuses;
  while (!error && i < stop) {
    const block_use *uses = all->uses + i;
    if ((error = begin_chunk(all, own, uses, stop - i, where))) {
      break;
    }
    int64_t left = own->nuses, n;
    if (own->chunk.head.kind == CHUNK_OF_ONE_VALUE) {
      error = fill_parts(all, own, uses, left);
      i += error ? 0 : left;
      continue;
    }
    decoder dec = {.grid = all->grid, .g = &all->g, .chunk = &own->chunk};
    for (; !error && left > 0; uses += n, left -= n, i += n) {
      n = count_same(all, uses, left);
      own->uses = uses + n;
      own->nuses = left - n;
      error = cat_decode_shared_block(&dec, own, all->parts, uses, n, where);
      i -= error ? n : 0;
    }
  }
  where->chunk = error ? all->uses[i].part : -1;
  own->nuses = 0;
  return error;
}

int cat_decode_shared(const cat_grid *grid, const cat_part *parts, int64_t nparts, int nthreads,
                      cat_where *where) {
  static const cat_work work = {decode_uses, sizeof(scratch), NULL, cat_free_scratch};
  shared all = {.grid = grid, .parts = parts, .nparts = nparts};
  *where = (cat_where){-1, -1, 0};
  int error = cat_find_geometry(grid, &all.g);
  error = error ? error : list_uses(&all, where);
  if (!error && all.nuses > 0) {
    cut_tasks(&all);
    error = cat_run(&work, &all, all.ntasks, nthreads, NULL, where);
  }
  free(all.uses);
  free(all.tasks);
  return error;
}
