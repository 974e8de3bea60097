/* The arithmetic of chunks, blocks and boxes. */
#ifndef CATERVA_CFFI_GEOMETRY_H
#define CATERVA_CFFI_GEOMETRY_H

#include "kernel.h"

/* The partition of one chunk, checked against C-Blosc2's limits. */
typedef struct {
  int32_t ndim;
  int32_t itemsize;
  int32_t blocksize; /* bytes */
  int32_t nbytes;    /* of the chunk, in whole blocks unless the grid is cut */
  int64_t nblocks;
  int64_t chunk[CAT_MAX_DIM];
  int64_t block[CAT_MAX_DIM];
  int64_t blocks[CAT_MAX_DIM];        /* along each dimension */
  int64_t block_strides[CAT_MAX_DIM]; /* bytes, inside a block */
} geometry;

/* How many bytes a block has: all blocks but the last one have as many. */
static inline int32_t cat_block_bytes(const geometry *g, int64_t number) {
  int64_t left = g->nbytes - number * g->blocksize;
  return left < g->blocksize ? (int32_t)left : g->blocksize;
}

/* Whether the last block is shorter than the others. */
static inline int cat_is_cut(const geometry *g) { return g->nbytes % g->blocksize != 0; }

/* Check a grid, and find its geometry. Returns 0 or CAT_ERROR_GEOMETRY. */
int cat_find_geometry(const cat_grid *grid, geometry *g);

/* Find a block in its chunk: its first item, and how many it has of the first `extent` along each
 * dimension. */
void cat_locate_block(const geometry *g, int64_t number, const int64_t *extent, int64_t *start,
                     int64_t *count);

/* Whether a block lies in a destination as it does in a block of its own. */
int cat_same_strides(const geometry *g, const int64_t *strides);

/* Whether a box lies inside a shape; CAT_ERROR_GEOMETRY if not. */
int cat_check_box(const cat_box *box, int ndim, const int64_t *shape);

int cat_is_empty(const cat_box *box, int ndim);

/* --- cutting ------------------------------------------------------------------------------------ */

/* A box that is cut at borders: of the blocks of a chunk, or of the chunks of an array. */
typedef struct {
  const cat_box *box;
  int ndim;
  const int64_t *size;        /* of a block or chunk */
  const int64_t *grid;        /* how many there are along each dimension */
  int64_t along[CAT_MAX_DIM]; /* how many the box touches, along each dimension */
  int64_t n;                  /* how many it touches, all together */
} cutting;

/* The part of a box in one of these blocks or chunks. */
typedef struct {
  int64_t number;             /* of the block or chunk */
  int64_t first[CAT_MAX_DIM]; /* of the wanted items, as a position in it */
  int64_t count[CAT_MAX_DIM]; /* of wanted items */
  int64_t dest;               /* bytes from the box's destination to that of these items */
} cut_box;

/* Cut a box that is not empty and lies inside the grid. */
cutting cat_cut(const cat_box *box, int ndim, const int64_t *size, const int64_t *grid);

/* Find the i-th of the blocks or chunks that the box touches. */
void cat_find_cut_box(const cutting *cut, int64_t i, const int64_t *strides, cut_box *found);

/* The wanted items of a block. */
typedef struct {
  cut_box box;
  int64_t strides[CAT_MAX_DIM]; /* bytes between them in the block */
  int64_t src;                  /* bytes from the block's start to the first of them */
  int64_t end;                  /* bytes from the block's start to behind the last of them */
  int whole;                    /* every item of the block is wanted */
} block_part;

/* Find the i-th of the blocks that a box of a chunk touches. */
void cat_find_block(const geometry *g, const cutting *cut, int64_t i, const int64_t *strides,
                    block_part *part);

#endif
