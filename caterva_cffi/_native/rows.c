#include "rows.h"

#include <string.h>

#include "kernel.h"

/* One dimension of both memories. */
typedef struct {
  int64_t n;
  int64_t dest, src; /* strides */
  int64_t outer;     /* the same as one of them, without its sign */
} dimension;

/* Sort the dimensions of more than one item, the longest strides first. Returns how many there are, or
 * -1 where there are no items. */
static int sort_dimensions(dimension *dims, const int64_t *dest_strides, const int64_t *src_strides,
                           const int64_t *count, int ndim, const int64_t *outer) {
  int n = 0;
  for (int d = 0; d < ndim; d++) {
    if (count[d] == 0) {
      return -1;
    }
    if (count[d] == 1) {
      continue;
    }
    int64_t stride = outer[d] < 0 ? -outer[d] : outer[d];
    int at = n++;
    for (; at > 0 && dims[at - 1].outer < stride; at--) {
      dims[at] = dims[at - 1];
    }
    dims[at] = (dimension){count[d], dest_strides[d], src_strides[d], stride};
  }
  return n;
}

/* Make one of neighbouring dimensions that are one run on both sides. Returns how many are left. */
static int join_dimensions(dimension *dims, int n) {
  int last = 0;
  for (int d = 1; d < n; d++) {
    if (dims[last].dest == dims[d].dest * dims[d].n && dims[last].src == dims[d].src * dims[d].n) {
      dims[last].n *= dims[d].n;
      dims[last].dest = dims[d].dest, dims[last].src = dims[d].src;
    } else {
      dims[++last] = dims[d];
    }
  }
  return n > 0 ? last + 1 : 0;
}

/* Items that are neighbours on the inner side come second, so that no line is loaded twice. */
static void bring_neighbours(dimension *dims, int n, int inner_is_src) {
  int closest = n - 1;
  for (int d = 0; d < n - 1; d++) {
    int64_t inner = inner_is_src ? dims[d].src : dims[d].dest;
    int64_t nearest = inner_is_src ? dims[closest].src : dims[closest].dest;
    closest = inner > 0 && inner < nearest ? d : closest;
  }
  if (n > 1 && closest < n - 2) {
    dimension neighbours = dims[closest];
    for (int d = closest; d < n - 2; d++) {
      dims[d] = dims[d + 1];
    }
    dims[n - 2] = neighbours;
  }
}

void cat_for_rows(uint8_t *dest, const int64_t *dest_strides, int64_t src,
                  const int64_t *src_strides, const int64_t *count, int ndim, const int64_t *outer,
                  row_mover move, const void *state) {
  dimension dims[CAT_MAX_DIM];
  int n = sort_dimensions(dims, dest_strides, src_strides, count, ndim, outer);
  if (n < 0) {
    return;
  }
  n = join_dimensions(dims, n);
  bring_neighbours(dims, n, outer == dest_strides);
  rows r = {{1, 1}, {0, 0}, {0, 0}};
  for (int i = 0; i < 2 && i < n; i++) {
    const dimension *d = &dims[n - 1 - i];
    r.n[1 - i] = d->n, r.dest[1 - i] = d->dest, r.src[1 - i] = d->src;
  }
  int64_t k[CAT_MAX_DIM] = {0};
  for (;;) {
    move(state, dest, src, &r);
    int d = n - 3;
    for (; d >= 0; d--) {
      dest += dims[d].dest, src += dims[d].src;
      if (++k[d] < dims[d].n) {
        break;
      }
      dest -= dims[d].dest * dims[d].n, src -= dims[d].src * dims[d].n;
      k[d] = 0;
    }
    if (d < 0) {
      return;
    }
  }
}

/* Runs of two parts that may overlap. A constant size lets the compiler move a part at once. */
static inline void copy_halves(uint8_t *dest, int64_t dest_stride, const uint8_t *src,
                               int64_t src_stride, int64_t n, int64_t size, size_t part) {
  int64_t second = size - (int64_t)part;
  int far_dest = !are_close(dest_stride), far_src = !are_close(src_stride);
  for (; n > 0; n--, dest += dest_stride, src += src_stride) {
    if (far_dest) {
      expect_row(dest, dest_stride, size, 1);
    }
    if (far_src) {
      expect_row(src, src_stride, size, 0);
    }
    memcpy(dest, src, part);
    if (second > 0) {
      memcpy(dest + second, src + second, part);
    }
  }
}

/* Runs of at most a cache line. Moved in parts of 16 bytes, as items are woven: a longer part that was
 * just written in two would have to wait for both. Of runs that lie close together, the processor
 * expects the next ones. */
static void copy_short_runs(uint8_t *dest, int64_t dest_stride, const uint8_t *src,
                            int64_t src_stride, int64_t n, int64_t size) {
#define RUNS(SIZE, PART) copy_halves(dest, dest_stride, src, src_stride, n, SIZE, PART)
  switch (size) {
    case 1: RUNS(1, 1); return;
    case 2: RUNS(2, 2); return;
    case 3: RUNS(3, 2); return;
    case 4: RUNS(4, 4); return;
    case 8: RUNS(8, 8); return;
    case 12: RUNS(12, 8); return;
    case 16: RUNS(16, 16); return;
    case 32: RUNS(32, 32); return;
    default: break;
  }
  if (size < 8) {
    RUNS(size, 4);
  } else if (size < 16) {
    RUNS(size, 8);
  } else if (size < 32) {
    RUNS(size, 16);
  } else {
    RUNS(size, 32);
  }
#undef RUNS
}

void cat_copy_runs(uint8_t *dest, int64_t dest_stride, const uint8_t *src, int64_t src_stride,
                   int64_t n, int64_t size) {
  if (size <= CACHE_LINE) {
    copy_short_runs(dest, dest_stride, src, src_stride, n, size);
    return;
  }
  for (; n > 0; n--, dest += dest_stride, src += src_stride) {
    expect_row(dest, dest_stride, size, 1);
    expect_row(src, src_stride, size, 0);
    memcpy(dest, src, (size_t)size);
  }
}

typedef struct {
  const uint8_t *src;
  int64_t itemsize;
} copied;

enum {
  TILE = 8,   /* lines of a tile fit one set of a cache, however they are aligned */
  PICKED = 8, /* of so many items one */
};

static inline void copy_tiles(uint8_t *dest, const uint8_t *src, const rows *given, size_t size) {
  const rows r = *given; /* where no byte that is written may be */
  for (int64_t a = 0; a < r.n[0]; a += TILE) {
    int64_t rows_end = a + TILE < r.n[0] ? a + TILE : r.n[0];
    for (int64_t b = 0; b < r.n[1]; b += TILE) {
      int64_t end = b + TILE < r.n[1] ? b + TILE : r.n[1];
      for (int64_t j = a; j < rows_end; j++) {
        for (int64_t i = b; i < end; i++) {
          memcpy(dest + j * r.dest[0] + i * r.dest[1], src + j * r.src[0] + i * r.src[1], size);
        }
      }
    }
  }
}

/* Items that become neighbours, and are one in `step` of some that lie close together already. A constant step lets the
 * compiler take many at once. */
static inline void pick_items(uint8_t *restrict dest, const uint8_t *restrict src, int64_t n,
                              size_t size, int64_t step) {
  for (int64_t i = 0; i < n; i++) {
    memcpy(dest + i * (int64_t)size, src + i * step * (int64_t)size, size);
  }
}

static inline void pick_rows(uint8_t *dest, const uint8_t *src, const rows *given, size_t size) {
  const rows r = *given;
  int64_t step = r.src[1] / (int64_t)size;
  for (int64_t j = r.n[0]; j > 0; j--, dest += r.dest[0], src += r.src[0]) {
    switch (step) { /* those of default blocks */
      case 2: pick_items(dest, src, r.n[1], size, 2); break;
      case 4: pick_items(dest, src, r.n[1], size, 4); break;
      default: pick_items(dest, src, r.n[1], size, step);
    }
  }
}

static inline void move_items(uint8_t *dest, const uint8_t *src, const rows *r, size_t size) {
  int64_t itemsize = (int64_t)size;
  int is_one_in_some = r->src[1] > 0 && r->src[1] <= PICKED * itemsize && r->src[1] % itemsize == 0;
  if (r->dest[1] == itemsize && is_one_in_some) {
    pick_rows(dest, src, r, size);
  } else {
    copy_tiles(dest, src, r, size);
  }
}

static void copy_rows(const void *state, uint8_t *dest, int64_t from, const rows *r) {
  const copied *given = state;
  const uint8_t *src = given->src + from;
  int64_t itemsize = given->itemsize, n = r->n[1];
  if (n == 1 || (r->dest[1] == itemsize && r->src[1] == itemsize)) {
    cat_copy_runs(dest, r->dest[0], src, r->src[0], r->n[0], n * itemsize);
    return;
  }
  switch (itemsize) { /* a constant size lets the compiler move whole items */
    case 1: move_items(dest, src, r, 1); break;
    case 2: move_items(dest, src, r, 2); break;
    case 4: move_items(dest, src, r, 4); break;
    case 8: move_items(dest, src, r, 8); break;
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
