#include <stdlib.h>

#include "decode.h"
#include "rows.h"
#include "threads.h"

enum {
  MOST_TASK_BYTES = 8 * DECODE_TASK_BYTES,
  LARGE = 32 * 1024, /* a stored block that takes so long to decode that reading it alone costs little */
};

static int decode_task(void *state, void *own, int64_t number, cat_where *where) {
  const decoder *dec = state;
  int from_memory = dec->chunk->whole != NULL || dec->chunk->head.kind == CHUNK_STORED;
  int error = from_memory ? 0 : cat_prepare_scratch(dec, own);
  int64_t stop = (number + 1) * dec->task_blocks;
  for (int64_t b = number * dec->task_blocks; !error && b < stop && b < dec->cut.n; b++) {
    error = cat_decode_block(dec, own, b, stop < dec->cut.n ? stop : dec->cut.n, where);
  }
  return error;
}

static int is_narrow(const geometry *g) {
  return g->ndim > 0 && g->block[g->ndim - 1] * g->itemsize < CACHE_LINE;
}

/* How many blocks a task decodes. Where blocks are narrower than a cache line, those that share lines of
 * the destination go to one task: threads would take the lines from each other. */
static int64_t find_task_blocks(const geometry *g, const cutting *cut) {
  int64_t blocks = DECODE_TASK_BYTES / g->blocksize + 1;
  if (is_narrow(g)) {
    int64_t row = cut->along[g->ndim - 1], whole = (blocks + row - 1) / row * row;
    blocks = whole * g->blocksize <= MOST_TASK_BYTES ? whole : blocks;
  }
  return blocks;
}

typedef struct {
  int32_t start; /* in the chunk */
  int64_t i;
} block_start;

static int compare_starts(const void *a, const void *b) {
  int32_t x = ((const block_start *)a)->start, y = ((const block_start *)b)->start;
  return (x > y) - (x < y);
}

/* Whether blocks have to be read from a file, where they may not lie in C order. */
static int lie_apart(const decoder *dec) {
  const known_chunk *chunk = dec->chunk;
  return chunk->read != NULL && !chunk->at_hand && chunk->head.kind == CHUNK_OF_BLOCKS &&
         !chunk->head.offsets.in_order && dec->cut.n > 2;
}

/* Sort the blocks as they are stored. Those that cannot be found are met later. */
static int find_order(const decoder *dec, int64_t *order) {
  static const int64_t still[CAT_MAX_DIM] = {0};
  block_start *starts = malloc((size_t)dec->cut.n * sizeof *starts);
  if (starts == NULL) {
    return CAT_ERROR_MEMORY;
  }
  for (int64_t i = 0; i < dec->cut.n; i++) {
    cut_box block;
    int32_t end;
    cat_find_cut_box(&dec->cut, i, still, &block);
    starts[i].i = i;
    cat_find_block_range(dec, block.number, &starts[i].start, &end);
  }
  qsort(starts, (size_t)dec->cut.n, sizeof *starts, compare_starts);
  for (int64_t i = 0; i < dec->cut.n; i++) {
    order[i] = starts[i].i;
  }
  free(starts);
  return 0;
}

/* Get ready to read blocks from a file. A part of a chunk is decoded as it is stored, so that neighbours
 * are read together. If most of a chunk of large blocks is wanted, the order of the destination costs
 * less. So it does if blocks share lines of the destination. */
static int prepare_reads(decoder *dec, int64_t **order) {
  const known_chunk *chunk = dec->chunk;
  int64_t n = dec->cut.n;
  *order = NULL;
  if (!lie_apart(dec)) {
    return 0;
  }
  if (2 * n > dec->g->nblocks && chunk->head.cbytes / dec->g->nblocks >= LARGE) {
    return 0;
  }
  if (is_narrow(dec->g) && dec->cut.along[dec->g->ndim - 1] > 1) {
    return 0;
  }
  dec->order = *order = malloc((size_t)n * sizeof **order);
  return *order == NULL ? CAT_ERROR_MEMORY : find_order(dec, *order);
}

static int decode_blocks(decoder *dec, int nthreads, scratch *own, cat_where *where) {
  static const cat_work work = {decode_task, sizeof(scratch), NULL, cat_free_scratch};
  const geometry *g = dec->g;
  const cat_part *part = dec->part;
  dec->cut = cat_cut(&part->box, g->ndim, g->block, g->blocks);
  dec->direct = cat_same_strides(g, part->strides);
  dec->task_blocks = find_task_blocks(g, &dec->cut);
  int error = cat_prepare_chunk(dec, own, dec->cut.n, where);
  if (error) {
    return error;
  }
  int64_t tasks = (dec->cut.n + dec->task_blocks - 1) / dec->task_blocks;
  int64_t *order;
  own->told = own->told_bytes = 0;
  error = prepare_reads(dec, &order);
  error = error ? error : cat_run(&work, dec, tasks, nthreads, own, where);
  free(order);
  return error;
}

int cat_decode_part(const cat_grid *grid, const geometry *g, const cat_part *part, int nthreads,
                    scratch *own, cat_where *where) {
  decoder dec = {.grid = grid, .g = g, .part = part, .chunk = &own->chunk};
  int error = cat_check_box(&part->box, g->ndim, g->chunk);
  if (error || cat_is_empty(&part->box, g->ndim)) {
    return error;
  }
  error = cat_know_chunk(&dec, own, where);
  if (error) {
    return error;
  }
  return dec.chunk->head.kind == CHUNK_OF_ONE_VALUE ? cat_fill_part(&dec)
                                                    : decode_blocks(&dec, nthreads, own, where);
}
