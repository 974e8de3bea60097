#include "decode.h"
#include "rows.h"
#include "threads.h"

enum { MOST_SLAB_BYTES = 8 * SLAB_BYTES };

static int decode_slab(void *state, void *own, int64_t number, cat_where *where) {
  const decoder *dec = state;
  int from_memory = dec->chunk->whole != NULL || dec->chunk->head.kind == CHUNK_STORED;
  int error = from_memory ? 0 : cat_prepare_scratch(dec, own);
  int64_t stop = (number + 1) * dec->slab;
  for (int64_t b = number * dec->slab; !error && b < stop && b < dec->cut.n; b++) {
    error = cat_decode_block(dec, own, b, stop < dec->cut.n ? stop : dec->cut.n, where);
  }
  return error;
}

/* How many blocks a task decodes. Where blocks are narrower than a cache line, those that share lines of
 * the destination go to one task: threads would take the lines from each other. */
static int64_t find_slab(const geometry *g, const cutting *cut) {
  int64_t slab = SLAB_BYTES / g->blocksize + 1;
  int last = g->ndim - 1;
  if (last >= 0 && g->block[last] * g->itemsize < CACHE_LINE) {
    int64_t row = cut->along[last], whole = (slab + row - 1) / row * row;
    slab = whole * g->blocksize <= MOST_SLAB_BYTES ? whole : slab;
  }
  return slab;
}

static int decode_blocks(decoder *dec, int nthreads, scratch *own, cat_where *where) {
  static const cat_work work = {decode_slab, sizeof(scratch), NULL, cat_free_scratch};
  const geometry *g = dec->g;
  const cat_part *part = dec->part;
  dec->cut = cat_cut(&part->box, g->ndim, g->block, g->blocks);
  dec->direct = cat_same_layout(g, part->strides);
  dec->slab = find_slab(g, &dec->cut);
  int error = cat_prepare_chunk(dec, own, dec->cut.n, where);
  if (error) {
    return error;
  }
  int64_t slabs = (dec->cut.n + dec->slab - 1) / dec->slab;
  return cat_run(&work, dec, slabs, nthreads, own, where);
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
