/* Chunks, blocks and boxes: their arithmetic, and copies between layouts. */
#ifndef CATERVA_CFFI_GEOMETRY_H
#define CATERVA_CFFI_GEOMETRY_H

#include "kernel.h"

/* The partition of one chunk, checked against C-Blosc2's limits. */
typedef struct {
  int32_t ndim;
  int32_t itemsize;
  int32_t blocksize; /* bytes */
  int32_t nbytes;    /* of the chunk, in whole blocks */
  int64_t nblocks;
  int64_t chunk[CAT_MAX_DIM];
  int64_t block[CAT_MAX_DIM];
  int64_t blocks[CAT_MAX_DIM];        /* along each dimension */
  int64_t block_strides[CAT_MAX_DIM]; /* bytes, inside a block */
} geometry;

/* The part of a box that lies in one block. */
typedef struct {
  int64_t number;               /* of the block in its chunk */
  int64_t count[CAT_MAX_DIM];   /* items */
  int64_t strides[CAT_MAX_DIM]; /* bytes between the wanted items in the block */
  int64_t src;                  /* bytes from the block's start to the first of them */
  int64_t end;                  /* bytes from the block's start to behind the last of them */
  int64_t dest;                 /* bytes from the destination's start */
  int whole;                    /* every item of the block is wanted */
} block_part;

int cat_find_geometry(const cat_grid *grid, geometry *g);

/* Whether a box lies inside a shape; CAT_ERROR_GEOMETRY if not. */
int cat_check_box(const cat_box *box, int ndim, const int64_t *shape);

int cat_is_empty(const cat_box *box, int ndim);

/* What a box has in one of the cells (blocks or chunks) at whose borders it is cut along a dimension. */
typedef struct {
  int64_t cell;   /* its number along the dimension */
  int64_t first;  /* of the wanted items, counted in the cell */
  int64_t count;  /* of wanted items */
  int64_t before; /* wanted items in the cells before it */
} cut;

/* How many cells of a size a box has items in, in all and along each dimension. */
int64_t cat_count_cells(const cat_box *box, int ndim, const int64_t *size, int64_t *along);

/* What it has in the place-th of these along a dimension. */
cut cat_cut_box(const cat_box *box, int dim, int64_t size, int64_t place);

/* The part of a box in the number-th of the blocks that it has items in. */
void cat_find_block(const geometry *g, const cat_box *box, const int64_t *along, int64_t number,
                    const int64_t *strides, block_part *part);

/* Whether a block lies in a destination as it does in a block of its own. */
int cat_same_layout(const geometry *g, const int64_t *strides);

/* Two dimensions of items in two layouts: `n[0]` rows of `n[1]` items. */
typedef struct {
  int64_t n[2];
  int64_t dest[2]; /* strides in bytes */
  int64_t src[2];  /* in whatever units the mover has */
} rows;

/* Moves rows of items, from `src` on. */
typedef void (*row_mover)(const void *state, uint8_t *dest, int64_t src, const rows *r);

enum { ROWS_AHEAD = 8, SHORT_ROW = 512 };

/* Tell the processor of a short row that is about to be read or written, some rows ahead: rows of a
 * block lie so far apart in an array that it does not expect them. Measured with rows of 128 bytes:
 * about a fifth less time. */
static inline void expect_row(const uint8_t *start, int64_t stride, int64_t size, int written) {
#if defined(__GNUC__) || defined(__clang__)
  if (size <= SHORT_ROW) {
    const uint8_t *row = (const uint8_t *)((uintptr_t)start + (uintptr_t)(stride * ROWS_AHEAD));
    for (int64_t line = 0; line < size; line += 64) {
      if (written) {
        __builtin_prefetch(row + line, 1);
      } else {
        __builtin_prefetch(row + line, 0);
      }
    }
  }
#else
  (void)start, (void)stride, (void)size, (void)written;
#endif
}

/* Call `move` for all rows of items that go from one layout to another, as few and as long as can
 * be, in the order of `outer`, the one that does not fit the cache. */
void cat_for_rows(uint8_t *dest, const int64_t *dest_strides, int64_t src, const int64_t *src_strides,
                  const int64_t *count, int ndim, const int64_t *outer, row_mover move,
                  const void *state);

/* Copy items between two layouts, in the order of `outer`, the one that does not fit the cache. */
void cat_copy_items(uint8_t *dest, const int64_t *dest_strides, const uint8_t *src,
                    const int64_t *src_strides, const int64_t *count, int ndim, int64_t itemsize,
                    const int64_t *outer);

#endif
