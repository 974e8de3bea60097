#include <stdlib.h>

#include "decode.h"
#include "threads.h"

typedef struct {
  const cat_grid *grid;
  geometry g;
  const cat_part *parts;
} batch;

static void keep_nothing(void *own) { (void)own; }

static int decode_one(void *state, void **own, int64_t number, cat_where *where) {
  (void)own;
  const batch *all = state;
  int error = cat_decode_part(all->grid, &all->g, &all->parts[number], 1, where);
  where->chunk = error ? number : -1;
  return error;
}

int cat_decode(const cat_grid *grid, const cat_part *parts, int64_t nparts, int nthreads,
               cat_where *where) {
  batch all = {.grid = grid, .parts = parts};
  *where = (cat_where){-1, -1};
  int error = cat_find_geometry(grid, &all.g);
  if (error) {
    return error;
  }
  /* Threads share out chunks where there are enough of them, and blocks where there are not. */
  int64_t most = nthreads > 0 ? nthreads : cat_get_nthreads();
  if (nparts >= 2 * most && most > 1 && nparts * all.g.nbytes > SLAB_BYTES) {
    return cat_run(decode_one, keep_nothing, &all, nparts, nthreads, where);
  }
  for (int64_t i = 0; !error && i < nparts; i++) {
    error = cat_decode_part(grid, &all.g, &parts[i], nthreads, where);
    where->chunk = error ? i : -1;
  }
  return error;
}

/* --- a box of an array in memory ---------------------------------------------------------------- */

typedef struct {
  cat_part part;
  cat_piece piece;
  int64_t number;
  uint8_t *owned; /* to be freed */
} fetched;

/* The part of a box in the chunk at `place` of those that it has items in. */
static int64_t find_chunk(const cat_grid *grid, const cat_box *box, const int64_t *along,
                          int64_t place, const int64_t *strides, uint8_t *dest, cat_part *part) {
  int64_t number = 0, scale = 1;
  part->dest = dest;
  for (int d = grid->ndim - 1; d >= 0; d--) {
    int64_t size = grid->chunk[d];
    cut c = cat_cut_box(box, d, size, place % along[d]);
    place /= along[d];
    number += c.cell * scale;
    scale *= (grid->shape[d] + size - 1) / size;
    part->box.start[d] = c.first;
    part->box.count[d] = c.count;
    part->box.step[d] = box->step[d];
    part->dest += c.before * strides[d];
    part->strides[d] = strides[d];
  }
  return number;
}

int cat_read(const cat_grid *grid, blosc2_schunk *schunk, const cat_box *box, uint8_t *dest,
             const int64_t *strides, int nthreads, cat_where *where) {
  *where = (cat_where){-1, -1};
  if (grid->ndim < 0 || grid->ndim > CAT_MAX_DIM) {
    return CAT_ERROR_GEOMETRY;
  }
  if (cat_is_empty(box, grid->ndim)) {
    return 0;
  }
  for (int d = 0; d < grid->ndim; d++) {
    if (grid->chunk[d] < 1) {
      return CAT_ERROR_GEOMETRY;
    }
  }
  int error = cat_check_box(box, grid->ndim, grid->shape);
  if (error) {
    return error;
  }
  int64_t along[CAT_MAX_DIM], n = cat_count_cells(box, grid->ndim, grid->chunk, along);
  fetched one, *chunks = n == 1 ? &one : calloc((size_t)n, sizeof *chunks);
  cat_part *parts = n == 1 ? &one.part : malloc((size_t)n * sizeof *parts);
  error = chunks == NULL || parts == NULL ? CAT_ERROR_MEMORY : 0;
  int64_t got = 0;
  for (; !error && got < n; got++) {
    fetched *chunk = &chunks[got];
    chunk->number = find_chunk(grid, box, along, got, strides, dest, &chunk->part);
    uint8_t *bytes = NULL;
    bool needs_free = false;
    int size = blosc2_schunk_get_chunk(schunk, chunk->number, &bytes, &needs_free);
    chunk->owned = needs_free ? bytes : NULL;
    if (size < 0) {
      error = size;
      where->chunk = chunk->number;
    }
    chunk->piece = (cat_piece){0, size, bytes};
    chunk->part.pieces = &chunk->piece;
    chunk->part.npieces = 1;
    parts[got] = chunk->part;
  }
  if (!error) {
    error = cat_decode(grid, parts, n, nthreads, where);
    if (where->chunk >= 0) {
      where->chunk = chunks[where->chunk].number;
    }
  }
  for (int64_t i = 0; i < got; i++) {
    free(chunks[i].owned);
  }
  if (n != 1) {
    free(chunks);
    free(parts);
  }
  return error;
}
