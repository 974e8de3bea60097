#include "gather.h"

#include <string.h>

#include "rows.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define HAVE_SSE2 1
#endif

enum {
  LONG_RUN = 1024,              /* bytes that are read as fast as any more would be */
  SHORT_RUN = 64,               /* less is a part of a cache line, of which the rest is read in vain */
  GROUP_BYTES = 512 * 1024,     /* of the blocks that are read together: half of a usual L2 cache */
  MOST_BYTES = 2 * 1024 * 1024, /* where they share cache lines */
};

block_source cat_find_source(const geometry *g, const uint8_t *items, const int64_t *strides,
                             const int64_t *extent, int grouped) {
  block_source source = {g, items, strides, extent, 0, g->nblocks, 1, 1};
  int64_t nearest = LONG_RUN;
  int axis = -1;
  for (int d = 0; d < g->ndim; d++) {
    if (extent[d] > 1) { /* strides of one item can be any number */
      int64_t stride = strides[d] < 0 ? -strides[d] : strides[d];
      if (stride > 0 && stride < nearest) {
        axis = d, nearest = stride;
      }
    }
  }
  if (axis < 0 || !grouped) {
    return source;
  }
  int64_t layer = 1;
  for (int d = axis + 1; d < g->ndim; d++) {
    layer *= g->blocks[d];
  }
  int64_t run = g->block[axis] < LONG_RUN / nearest ? g->block[axis] * nearest : LONG_RUN;
  int64_t most = (LONG_RUN + run - 1) / run;
  int64_t room = (run < SHORT_RUN ? MOST_BYTES : GROUP_BYTES) / g->blocksize / layer;
  most = most < room ? most : room;
  if (most > 1) {
    source.axis = axis;
    source.length = g->blocks[axis];
    source.most = most < source.length ? most : source.length;
    source.layer = layer;
  }
  return source;
}

int64_t cat_count_groups(const block_source *source) {
  int64_t rows = source->g->nblocks / (source->length * source->layer);
  return rows * ((source->length + source->most - 1) / source->most);
}

block_group cat_find_group(const block_source *source, int64_t number) {
  int64_t row = (source->length + source->most - 1) / source->most;
  int64_t at = number % row * source->most, left = source->length - at;
  int64_t count = left < source->most ? left : source->most;
  return (block_group){(number / row * source->length + at) * source->layer,
                       count * source->layer};
}

int64_t cat_most_grouped(const block_source *source) { return source->most * source->layer; }

/* --- moving items ------------------------------------------------------------------------------- */

/* Rows of items, and the same ones of further blocks. */
typedef struct {
  const uint8_t *items;
  int64_t itemsize;
  int64_t blocks;
  int64_t src_step;  /* from block to block */
  int64_t dest_step;
} gathered;

enum {
  TILE = 8, /* lines of a tile fit one set of a cache, however they are aligned */
  SOME_ROWS = 64,
};

static inline void copy_tile(uint8_t *dest, const uint8_t *src, const rows *r, int64_t n,
                             int64_t m, size_t size) {
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      memcpy(dest + j * r->dest[0] + i * r->dest[1], src + j * r->src[0] + i * r->src[1], size);
    }
  }
}

#if HAVE_SSE2
/* Transpose 8 rows of 4 items. */
static inline void transpose_4(uint8_t *dest, int64_t dest_stride, const uint8_t *src,
                               int64_t src_stride) {
  for (int half = 0; half < 2; half++, src += 4 * src_stride) {
    __m128i a = _mm_loadu_si128((const __m128i *)src);
    __m128i b = _mm_loadu_si128((const __m128i *)(src + src_stride));
    __m128i c = _mm_loadu_si128((const __m128i *)(src + 2 * src_stride));
    __m128i d = _mm_loadu_si128((const __m128i *)(src + 3 * src_stride));
    __m128i ab0 = _mm_unpacklo_epi32(a, b), ab1 = _mm_unpackhi_epi32(a, b);
    __m128i cd0 = _mm_unpacklo_epi32(c, d), cd1 = _mm_unpackhi_epi32(c, d);
    __m128i *to = (__m128i *)(dest + half * 16);
    _mm_storeu_si128(to, _mm_unpacklo_epi64(ab0, cd0));
    to = (__m128i *)((uint8_t *)to + dest_stride);
    _mm_storeu_si128(to, _mm_unpackhi_epi64(ab0, cd0));
    to = (__m128i *)((uint8_t *)to + dest_stride);
    _mm_storeu_si128(to, _mm_unpacklo_epi64(ab1, cd1));
    to = (__m128i *)((uint8_t *)to + dest_stride);
    _mm_storeu_si128(to, _mm_unpackhi_epi64(ab1, cd1));
  }
}

/* Transpose 8 rows of 2 items. */
static inline void transpose_8(uint8_t *dest, int64_t dest_stride, const uint8_t *src,
                               int64_t src_stride) {
  for (int pair = 0; pair < 4; pair++, src += 2 * src_stride) {
    __m128i a = _mm_loadu_si128((const __m128i *)src);
    __m128i b = _mm_loadu_si128((const __m128i *)(src + src_stride));
    _mm_storeu_si128((__m128i *)(dest + pair * 16), _mm_unpacklo_epi64(a, b));
    _mm_storeu_si128((__m128i *)(dest + dest_stride + pair * 16), _mm_unpackhi_epi64(a, b));
  }
}
#endif

/* A tile of 8 rows, of items that are neighbours in the source across, in a block along a row. */
static inline void transpose_tile(uint8_t *dest, const uint8_t *src, const rows *r, int64_t m,
                                  size_t size) {
  int64_t i = 0;
#if HAVE_SSE2
  for (; size == 4 && i + 4 <= m; i += 4) {
    transpose_4(dest + i * r->dest[1], r->dest[1], src + i * 4, r->src[0]);
  }
  for (; size == 8 && i + 2 <= m; i += 2) {
    transpose_8(dest + i * r->dest[1], r->dest[1], src + i * 8, r->src[0]);
  }
#endif
  if (i < m) {
    copy_tile(dest + i * r->dest[1], src + i * r->src[1], r, TILE, m - i, size);
  }
}

static inline void gather_tiles(const gathered *from, uint8_t *dest, const uint8_t *src,
                                const rows *r, size_t size) {
  int64_t item = (int64_t)size;
  int transposed = r->src[1] == item && r->dest[0] == item;
  for (int64_t row = 0; row < r->n[0]; row += TILE) {
    int64_t left = r->n[0] - row, n = left < TILE ? left : TILE;
    uint8_t *to = dest + row * r->dest[0];
    const uint8_t *at = src + row * r->src[0];
    for (int64_t k = 0; k < from->blocks; k++, to += from->dest_step, at += from->src_step) {
      if (transposed && n == TILE) {
        transpose_tile(to, at, r, r->n[1], size);
      } else {
        copy_tile(to, at, r, n, r->n[1], size);
      }
    }
  }
}

static inline void pack_items(uint8_t *dest, const uint8_t *src, int64_t n, int64_t stride,
                              size_t size) {
  for (int64_t i = 0; i < n; i++) {
    memcpy(dest + i * (int64_t)size, src + i * stride, size);
  }
}

/* Items that lie apart in the source, together in the block. */
static inline void pack_rows(const gathered *from, uint8_t *dest, const uint8_t *src,
                             const rows *r, size_t size) {
  int64_t item = (int64_t)size;
  for (int64_t row = 0; row < r->n[0]; row++, dest += r->dest[0], src += r->src[0]) {
    uint8_t *to = dest;
    const uint8_t *at = src;
    for (int64_t k = 0; k < from->blocks; k++, to += from->dest_step, at += from->src_step) {
      if (r->src[1] == 2 * item) { /* a constant stride lets the compiler move several items */
        pack_items(to, at, r->n[1], 2 * item, size);
      } else if (r->src[1] == -item) {
        pack_items(to, at, r->n[1], -item, size);
      } else {
        pack_items(to, at, r->n[1], r->src[1], size);
      }
    }
  }
}

static inline void move_items(const gathered *from, uint8_t *dest, const uint8_t *src,
                              const rows *r, size_t size) {
  if (r->dest[1] == (int64_t)size) {
    pack_rows(from, dest, src, r, size);
  } else {
    gather_tiles(from, dest, src, r, size);
  }
}

/* Few rows at a time of each block, so that their cache lines are loaded once. */
static void copy_short_runs(const gathered *from, uint8_t *dest, const uint8_t *src, const rows *r,
                            int64_t size) {
  for (int64_t row = 0; row < r->n[0]; row += SOME_ROWS) {
    int64_t left = r->n[0] - row, n = left < SOME_ROWS ? left : SOME_ROWS;
    uint8_t *to = dest + row * r->dest[0];
    const uint8_t *at = src + row * r->src[0];
    for (int64_t k = 0; k < from->blocks; k++, to += from->dest_step, at += from->src_step) {
      cat_copy_runs(to, r->dest[0], at, r->src[0], n, size);
    }
  }
}

static inline void copy_runs(const gathered *from, uint8_t *dest, const uint8_t *src,
                             const rows *r, int64_t size) {
  for (int64_t row = 0; row < r->n[0]; row++, dest += r->dest[0], src += r->src[0]) {
    uint8_t *to = dest;
    const uint8_t *at = src;
    expect_row(src, r->src[0], size * from->blocks, 0);
    for (int64_t k = 0; k < from->blocks; k++, to += from->dest_step, at += from->src_step) {
      memcpy(to, at, (size_t)size);
    }
  }
}

static void gather_rows(const void *state, uint8_t *dest, int64_t at, const rows *r) {
  const gathered *from = state;
  const uint8_t *src = from->items + at;
  int64_t size = from->itemsize, n = r->n[1];
  if (n == 1 || (r->dest[1] == size && r->src[1] == size)) {
    if (n * size < CACHE_LINE && are_close(r->src[0]) && are_close(r->dest[0])) {
      copy_short_runs(from, dest, src, r, n * size);
      return;
    }
    switch (n * size) { /* a constant size lets the compiler move whole lines */
      case 64: copy_runs(from, dest, src, r, 64); return;
      case 128: copy_runs(from, dest, src, r, 128); return;
      default: copy_runs(from, dest, src, r, n * size); return;
    }
  }
  switch (size) {
    case 1: move_items(from, dest, src, r, 1); return;
    case 2: move_items(from, dest, src, r, 2); return;
    case 4: move_items(from, dest, src, r, 4); return;
    case 8: move_items(from, dest, src, r, 8); return;
    case 16: move_items(from, dest, src, r, 16); return;
    default: move_items(from, dest, src, r, (size_t)size); return;
  }
}

/* --- blocks ------------------------------------------------------------------------------------- */

/* Where a block lies in the source, and how much of it. */
typedef struct {
  int64_t offset;
  int64_t count[CAT_MAX_DIM];
  int whole;
  int empty;
} found_block;

static found_block find_in_source(const block_source *source, int64_t number) {
  const geometry *g = source->g;
  found_block block = {.whole = 1};
  int64_t start[CAT_MAX_DIM];
  cat_locate_block(g, number, source->extent, start, block.count);
  for (int d = 0; d < g->ndim; d++) {
    block.whole &= block.count[d] == g->block[d];
    block.empty |= block.count[d] == 0;
    block.offset += block.count[d] > 0 ? start[d] * source->strides[d] : 0;
  }
  return block;
}

/* Copy so many neighbours along the axis at once. */
static void gather_run(const block_source *source, const found_block *block, int64_t blocks,
                       uint8_t *dest, int64_t step) {
  const geometry *g = source->g;
  int d = source->axis;
  int64_t count[CAT_MAX_DIM], strides[CAT_MAX_DIM];
  memcpy(count, block->count, sizeof count);
  memcpy(strides, g->block_strides, sizeof strides);
  gathered from = {source->items + block->offset, g->itemsize, blocks, 0, step};
  if (blocks > 1 && g->block[d] == 1) { /* the blocks are a dimension of the copy */
    count[d] = blocks, strides[d] = step;
    from.blocks = 1;
  } else if (blocks > 1) {
    from.src_step = g->block[d] * source->strides[d];
  }
  cat_for_rows(dest, strides, 0, source->strides, count, g->ndim, source->strides, gather_rows, &from);
}

void cat_gather_group(const block_source *source, block_group group, uint8_t *dest, int64_t slot) {
  int64_t layer = source->layer, blocks = group.count / layer;
  for (int64_t k = 0; k < layer; k++) {
    int64_t at = 0;
    while (at < blocks) {
      int64_t index = at * layer + k, whole = 0;
      found_block block = find_in_source(source, group.first + index);
      /* Only the last one along an axis lacks items. */
      while (at + whole < blocks &&
             (whole == 0 ? block.whole
                         : find_in_source(source, group.first + index + whole * layer).whole)) {
        whole++;
      }
      uint8_t *to = dest + index * slot;
      if (!block.whole) {
        memset(to, 0, (size_t)source->g->blocksize);
      }
      int64_t n = whole > 0 ? whole : 1;
      if (!block.empty) {
        gather_run(source, &block, n, to, layer * slot);
      }
      at += n;
    }
  }
}
