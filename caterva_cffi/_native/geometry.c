#include "geometry.h"

#include <string.h>

int cat_find_geometry(const cat_grid *grid, geometry *g) {
  if (grid->ndim < 0 || grid->ndim > CAT_MAX_DIM || grid->itemsize < 1) {
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
  g->nbytes = (int32_t)(blocksize * g->nblocks);
  return 0;
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

int64_t cat_count_cells(const cat_box *box, int ndim, const int64_t *size, int64_t *along) {
  int64_t n = 1;
  for (int d = 0; d < ndim; d++) {
    int64_t start = box->start[d], count = box->count[d], step = box->step[d];
    /* Long steps leave cells out: then each item has a cell of its own. */
    along[d] = count == 1 || step > size[d]
                   ? count
                   : (start + (count - 1) * step) / size[d] - start / size[d] + 1;
    n *= along[d];
  }
  return n;
}

/* How many steps it takes from 0 to reach a distance. */
static int64_t steps_to(int64_t distance, int64_t step) {
  return distance <= 0 ? 0 : step == 1 ? distance : (distance + step - 1) / step;
}

cut cat_cut_box(const cat_box *box, int dim, int64_t size, int64_t place) {
  int64_t start = box->start[dim], count = box->count[dim], step = box->step[dim];
  cut c;
  if (count == 1 || step > size) {
    c.before = place;
    c.count = 1;
    c.cell = (start + place * step) / size;
  } else {
    c.cell = start / size + place;
    c.before = steps_to(c.cell * size - start, step);
    int64_t end = steps_to((c.cell + 1) * size - start, step);
    c.count = (end < count ? end : count) - c.before;
  }
  c.first = start + c.before * step - c.cell * size;
  return c;
}

void cat_find_block(const geometry *g, const cat_box *box, const int64_t *along, int64_t number,
                    const int64_t *strides, block_part *part) {
  part->number = part->src = part->dest = 0;
  part->end = g->itemsize;
  part->whole = 1;
  int64_t scale = 1;
  for (int d = g->ndim - 1; d >= 0; d--) {
    int64_t place = along[d] == 1 ? 0 : number % along[d];
    number = along[d] == 1 ? number : number / along[d];
    cut c = cat_cut_box(box, d, g->block[d], place);
    part->number += c.cell * scale;
    scale *= g->blocks[d];
    part->count[d] = c.count;
    part->strides[d] = c.count == 1 ? 0 : g->block_strides[d] * box->step[d]; /* may be huge */
    part->src += c.first * g->block_strides[d];
    part->end += c.first * g->block_strides[d] + (c.count - 1) * part->strides[d];
    part->dest += c.before * strides[d];
    part->whole &= c.count == g->block[d];
  }
}

int cat_same_layout(const geometry *g, const int64_t *strides) {
  for (int d = 0; d < g->ndim; d++) {
    if (g->block[d] > 1 && strides[d] != g->block_strides[d]) {
      return 0;
    }
  }
  return 1;
}

void cat_for_rows(uint8_t *dest, const int64_t *dest_strides, int64_t src, const int64_t *src_strides,
                  const int64_t *count, int ndim, const int64_t *outer, row_mover move,
                  const void *state) {
  int64_t n[CAT_MAX_DIM], ds[CAT_MAX_DIM], ss[CAT_MAX_DIM], os[CAT_MAX_DIM];
  int dims = 0;
  for (int d = 0; d < ndim; d++) {
    if (count[d] == 0) {
      return;
    }
    if (count[d] == 1) {
      continue;
    }
    int64_t stride = outer[d] < 0 ? -outer[d] : outer[d];
    int at = dims++;
    for (; at > 0 && os[at - 1] < stride; at--) {
      n[at] = n[at - 1], ds[at] = ds[at - 1], ss[at] = ss[at - 1], os[at] = os[at - 1];
    }
    n[at] = count[d], ds[at] = dest_strides[d], ss[at] = src_strides[d], os[at] = stride;
  }
  /* Neighbouring dimensions that are one run on both sides become one. */
  int last = dims > 0 ? 0 : -1;
  for (int d = 1; d < dims; d++) {
    if (ds[last] == ds[d] * n[d] && ss[last] == ss[d] * n[d]) {
      n[last] *= n[d], ds[last] = ds[d], ss[last] = ss[d];
    } else {
      last++;
      n[last] = n[d], ds[last] = ds[d], ss[last] = ss[d];
    }
  }
  /* Items that are neighbours on the other side come second, so that no line is loaded twice. */
  int closest = last;
  for (int d = 0; d < last; d++) {
    int64_t inner = outer == dest_strides ? ss[d] : ds[d];
    int64_t nearest = outer == dest_strides ? ss[closest] : ds[closest];
    closest = inner > 0 && inner < nearest ? d : closest;
  }
  if (last > 0 && closest < last - 1) {
    int64_t nn = n[closest], nd = ds[closest], ns = ss[closest];
    for (int d = closest; d < last - 1; d++) {
      n[d] = n[d + 1], ds[d] = ds[d + 1], ss[d] = ss[d + 1];
    }
    n[last - 1] = nn, ds[last - 1] = nd, ss[last - 1] = ns;
  }
  rows r = {{1, 1}, {0, 0}, {0, 0}};
  for (int i = 0; i < 2 && last >= i; i++) {
    r.n[1 - i] = n[last - i], r.dest[1 - i] = ds[last - i], r.src[1 - i] = ss[last - i];
  }
  int64_t k[CAT_MAX_DIM] = {0};
  for (;;) {
    move(state, dest, src, &r);
    int d = last - 2;
    for (; d >= 0; d--) {
      dest += ds[d], src += ss[d];
      if (++k[d] < n[d]) {
        break;
      }
      dest -= ds[d] * n[d], src -= ss[d] * n[d];
      k[d] = 0;
    }
    if (d < 0) {
      return;
    }
  }
}

typedef struct {
  const uint8_t *src;
  int64_t itemsize;
} copied;

enum { TILE = 8 }; /* lines of a tile fit one set of a cache, however they are aligned */

static inline void copy_tiles(uint8_t *dest, const uint8_t *src, const rows *r, size_t size) {
  for (int64_t a = 0; a < r->n[0]; a += TILE) {
    int64_t rows_end = a + TILE < r->n[0] ? a + TILE : r->n[0];
    for (int64_t b = 0; b < r->n[1]; b += TILE) {
      int64_t end = b + TILE < r->n[1] ? b + TILE : r->n[1];
      for (int64_t j = a; j < rows_end; j++) {
        for (int64_t i = b; i < end; i++) {
          memcpy(dest + j * r->dest[0] + i * r->dest[1], src + j * r->src[0] + i * r->src[1], size);
        }
      }
    }
  }
}

static void copy_rows(const void *state, uint8_t *dest, int64_t from, const rows *r) {
  const copied *given = state;
  const uint8_t *src = given->src + from;
  int64_t itemsize = given->itemsize, n = r->n[1];
  if (n == 1 || (r->dest[1] == itemsize && r->src[1] == itemsize)) {
    for (int64_t row = 0; row < r->n[0]; row++, dest += r->dest[0], src += r->src[0]) {
      expect_row(dest, r->dest[0], n * itemsize, 1);
      expect_row(src, r->src[0], n * itemsize, 0);
      memcpy(dest, src, (size_t)(n * itemsize));
    }
    return;
  }
  switch (itemsize) { /* a constant size lets the compiler move whole items */
    case 1: copy_tiles(dest, src, r, 1); break;
    case 2: copy_tiles(dest, src, r, 2); break;
    case 4: copy_tiles(dest, src, r, 4); break;
    case 8: copy_tiles(dest, src, r, 8); break;
    case 16: copy_tiles(dest, src, r, 16); break;
    default: copy_tiles(dest, src, r, (size_t)itemsize);
  }
}

void cat_copy_items(uint8_t *dest, const int64_t *dest_strides, const uint8_t *src,
                    const int64_t *src_strides, const int64_t *count, int ndim, int64_t itemsize,
                    const int64_t *outer) {
  copied state = {src, itemsize};
  cat_for_rows(dest, dest_strides, 0, src_strides, count, ndim, outer, copy_rows, &state);
}
