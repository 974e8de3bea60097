#include "geometry.h"

int cat_find_geometry(const cat_grid *grid, geometry *g) {
  if (grid->ndim < 0 || grid->ndim > CAT_MAX_DIM || grid->itemsize < 1 ||
      (grid->cut && (grid->ndim != 1 || grid->checksums))) {
    return CAT_ERROR_GEOMETRY;
  }
  g->ndim = grid->ndim;
  g->itemsize = grid->itemsize;
  int64_t blocksize = grid->itemsize;
  g->nblocks = 1;
  for (int d = g->ndim - 1; d >= 0; d--) {
    if (grid->block[d] < 1 || grid->chunk[d] < grid->block[d] || grid->chunk[d] > INT32_MAX ||
        blocksize > INT32_MAX / grid->block[d]) {
      return CAT_ERROR_GEOMETRY;
    }
    g->chunk[d] = grid->chunk[d];
    g->block[d] = grid->block[d];
    g->block_strides[d] = blocksize;
    blocksize *= grid->block[d];
    g->blocks[d] = (grid->chunk[d] + grid->block[d] - 1) / grid->block[d];
    if (g->nblocks > INT32_MAX / g->blocks[d]) {
      return CAT_ERROR_GEOMETRY;
    }
    g->nblocks *= g->blocks[d];
  }
  if (blocksize > BLOSC2_MAXBLOCKSIZE || g->nblocks > BLOSC2_MAX_BUFFERSIZE / blocksize) {
    return CAT_ERROR_GEOMETRY;
  }
  g->blocksize = (int32_t)blocksize;
  g->nbytes = (int32_t)(grid->cut ? g->itemsize * g->chunk[0] : blocksize * g->nblocks);
  return 0;
}

void cat_locate_block(const geometry *g, int64_t number, const int64_t *extent, int64_t *start,
                     int64_t *count) {
  for (int d = g->ndim - 1; d >= 0; d--) {
    start[d] = number % g->blocks[d] * g->block[d];
    number /= g->blocks[d];
    int64_t left = extent[d] - start[d];
    count[d] = left < 0 ? 0 : left < g->block[d] ? left : g->block[d];
  }
}

int cat_same_strides(const geometry *g, const int64_t *strides) {
  for (int d = 0; d < g->ndim; d++) {
    if (g->block[d] > 1 && strides[d] != g->block_strides[d]) {
      return 0;
    }
  }
  return 1;
}

int cat_check_box(const cat_box *box, int ndim, const int64_t *shape) {
  for (int d = 0; d < ndim; d++) {
    int64_t start = box->start[d], count = box->count[d], step = box->step[d];
    if (start < 0 || count < 0 || step < 1 ||
        (count > 0 && (start >= shape[d] || count - 1 > (shape[d] - 1 - start) / step))) {
      return CAT_ERROR_GEOMETRY;
    }
  }
  return 0;
}

int cat_is_empty(const cat_box *box, int ndim) {
  for (int d = 0; d < ndim; d++) {
    if (box->count[d] == 0) {
      return 1;
    }
  }
  return 0;
}

/* --- cutting ------------------------------------------------------------------------------------ */

/* Long steps leave blocks or chunks out: then each item is in one of its own. */
static int are_apart(int64_t count, int64_t step, int64_t size) {
  return count == 1 || step > size;
}

cutting cat_cut(const cat_box *box, int ndim, const int64_t *size, const int64_t *grid) {
  cutting cut = {.box = box, .ndim = ndim, .size = size, .grid = grid, .n = 1};
  for (int d = 0; d < ndim; d++) {
    int64_t start = box->start[d], count = box->count[d], step = box->step[d];
    cut.along[d] = are_apart(count, step, size[d])
                       ? count
                       : (start + (count - 1) * step) / size[d] - start / size[d] + 1;
    cut.n *= cut.along[d];
  }
  return cut;
}

/* How many steps it takes from 0 to reach a distance. */
static int64_t steps_to(int64_t distance, int64_t step) {
  return distance <= 0 ? 0 : step == 1 ? distance : (distance + step - 1) / step;
}

void cat_find_cut_box(const cutting *cut, int64_t i, const int64_t *strides, cut_box *found) {
  int64_t scale = 1;
  found->number = found->dest = 0;
  for (int d = cut->ndim - 1; d >= 0; d--) {
    int64_t start = cut->box->start[d], count = cut->box->count[d], step = cut->box->step[d];
    int64_t size = cut->size[d], at = 0;
    if (cut->along[d] > 1) {
      at = i % cut->along[d];
      i /= cut->along[d];
    }
    int64_t before = at, number; /* wanted items in those before it; of this one */
    if (are_apart(count, step, size)) {
      number = (start + at * step) / size;
      found->count[d] = 1;
    } else {
      number = start / size + at;
      before = steps_to(number * size - start, step);
      int64_t end = steps_to((number + 1) * size - start, step);
      found->count[d] = (end < count ? end : count) - before;
    }
    found->first[d] = start + before * step - number * size;
    found->dest += before * strides[d];
    found->number += number * scale;
    scale *= cut->grid[d];
  }
}

void cat_find_block(const geometry *g, const cutting *cut, int64_t i, const int64_t *strides,
                    block_part *part) {
  cat_find_cut_box(cut, i, strides, &part->box);
  part->src = 0;
  part->end = g->itemsize;
  part->whole = 1;
  for (int d = 0; d < g->ndim; d++) {
    int64_t count = part->box.count[d], first = part->box.first[d] * g->block_strides[d];
    /* The step of a single item may be huge. */
    part->strides[d] = count == 1 ? 0 : g->block_strides[d] * cut->box->step[d];
    part->src += first;
    part->end += first + (count - 1) * part->strides[d];
    part->whole &= count == g->block[d];
  }
}
