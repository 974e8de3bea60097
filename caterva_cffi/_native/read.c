/* Boxes of a super-chunk in memory. */
#include <stdlib.h>

#include "geometry.h"

/* A chunk that a box has items in, and what is wanted of it. */
typedef struct {
  int64_t number;
  cat_piece piece;
  uint8_t *owned; /* to be freed */
} fetched;

static int fetch_chunk(blosc2_schunk *schunk, fetched *chunk) {
  uint8_t *bytes = NULL;
  bool needs_free = false;
  int size = blosc2_schunk_get_chunk(schunk, chunk->number, &bytes, &needs_free);
  chunk->owned = needs_free ? bytes : NULL;
  chunk->piece = (cat_piece){0, size, bytes};
  return size < 0 ? size : 0;
}

/* Fetch the i-th of the chunks that a box has items in; `part` is what is wanted of it. */
static int fetch_part(const cutting *cut, int64_t i, blosc2_schunk *schunk, uint8_t *dest,
                      const int64_t *strides, fetched *chunk, cat_part *part) {
  cut_box found;
  cat_find_cut_box(cut, i, strides, &found);
  chunk->number = found.number;
  *part = (cat_part){.pieces = &chunk->piece, .npieces = 1, .dest = dest + found.dest};
  for (int d = 0; d < cut->ndim; d++) {
    part->box.start[d] = found.first[d];
    part->box.count[d] = found.count[d];
    part->box.step[d] = cut->box->step[d];
    part->strides[d] = strides[d];
  }
  return fetch_chunk(schunk, chunk);
}

int cat_read(const cat_grid *grid, blosc2_schunk *schunk, const cat_box *box, uint8_t *dest,
             const int64_t *strides, int nthreads, cat_where *where) {
  *where = (cat_where){-1, -1, 0};
  if (grid->ndim < 0 || grid->ndim > CAT_MAX_DIM) {
    return CAT_ERROR_GEOMETRY;
  }
  if (cat_is_empty(box, grid->ndim)) {
    return 0;
  }
  int64_t chunk_grid[CAT_MAX_DIM];
  int error = cat_check_box(box, grid->ndim, grid->shape);
  for (int d = 0; !error && d < grid->ndim; d++) {
    if (grid->chunk[d] < 1) {
      return CAT_ERROR_GEOMETRY;
    }
    chunk_grid[d] = (grid->shape[d] + grid->chunk[d] - 1) / grid->chunk[d];
  }
  if (error) {
    return error;
  }
  cutting cut = cat_cut(box, grid->ndim, grid->chunk, chunk_grid);
  fetched one, *chunks = cut.n == 1 ? &one : malloc((size_t)cut.n * sizeof *chunks);
  cat_part only, *parts = cut.n == 1 ? &only : malloc((size_t)cut.n * sizeof *parts);
  error = chunks == NULL || parts == NULL ? CAT_ERROR_MEMORY : 0;
  int64_t got = 0;
  for (; !error && got < cut.n; got++) {
    error = fetch_part(&cut, got, schunk, dest, strides, &chunks[got], &parts[got]);
    where->chunk = error ? chunks[got].number : -1;
  }
  if (!error) {
    error = cat_decode(grid, parts, cut.n, nthreads, where);
    where->chunk = where->chunk >= 0 ? chunks[where->chunk].number : -1;
  }
  for (int64_t i = 0; i < got; i++) {
    free(chunks[i].owned);
  }
  if (cut.n != 1) {
    free(chunks);
    free(parts);
  }
  return error;
}
