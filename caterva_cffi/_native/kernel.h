/* The block kernel: boxes of a chunk, decoded and encoded block by block.
 *
 * C-Blosc2's and Caterva's own slicing go through a scratch as large as the chunk. Here each block
 * travels as a chunk of its own (a "mini-chunk": the chunk's header, one offset, the block's bytes)
 * through a scratch as large as a block, so that cost follows the blocks that are touched.
 *
 * All shapes and positions count items; sizes and strides count bytes. Nothing here keeps state or
 * prints; every function may run in many threads at once on distinct destinations.
 */
#ifndef CATERVA_CFFI_KERNEL_H
#define CATERVA_CFFI_KERNEL_H

#include <stdint.h>

#define CAT_MAX_DIM 16

enum {
  CAT_ERROR_TRUNCATED = -1001,   /* the chunk is longer than the bytes that were given */
  CAT_ERROR_GEOMETRY = -1002,    /* sizes in the chunk header contradict the array's shapes */
  CAT_ERROR_FLAGS = -1003,       /* a lazy, instrumented, variable-length or Blosc1 chunk */
  CAT_ERROR_CODEC = -1004,       /* a codec that is not compiled in */
  CAT_ERROR_FILTER = -1005,      /* a filter that is not compiled in */
  CAT_ERROR_OFFSET = -1006,      /* a block lies outside its chunk */
  CAT_ERROR_MISSING = -1007,     /* a block's bytes are in none of the pieces */
  CAT_ERROR_BLOCK = -1008,       /* a block does not decode to the size of a block */
  CAT_ERROR_MEMORY = -1009,
};

/* The partition of one chunk. */
typedef struct {
  int32_t ndim;
  int32_t itemsize;
  int64_t chunk[CAT_MAX_DIM];
  int64_t block[CAT_MAX_DIM];
} cat_grid;

/* Where compressed bytes of a chunk are in memory: `size` bytes from `start` of the chunk on. */
typedef struct {
  int64_t start;
  int64_t size;
  const uint8_t *data;
} cat_piece;

/* `count` items along each dimension, from `start` on, every `step`-th (step >= 1). */
typedef struct {
  int64_t start[CAT_MAX_DIM];
  int64_t count[CAT_MAX_DIM];
  int64_t step[CAT_MAX_DIM];
} cat_box;

typedef struct {
  uint8_t codec;
  uint8_t codec_meta;
  uint8_t clevel;
  uint8_t use_dict;
  int32_t splitmode;
  uint8_t filters[6];
  uint8_t filters_meta[6];
} cat_compression;

/* Decode `box` of a chunk into `dest`, where item k lies at sum(k[i] * strides[i]).
 *
 * The pieces are sorted by start and do not overlap; the first starts at 0 and holds header, block
 * offsets and dictionary. Returns 0 or an error code; `where` then holds the block's number, or -1
 * for the chunk itself. */
int cat_decode(const cat_grid *grid, const cat_piece *pieces, int64_t npieces, const cat_box *box,
               uint8_t *dest, const int64_t *strides, int64_t *where);

/* The most bytes that cat_encode may need for a chunk of this grid, or CAT_ERROR_GEOMETRY. */
int64_t cat_encode_bound(const cat_grid *grid);

/* Compress a chunk whose first `extent` items along each dimension come from `src`, where item k
 * lies at sum(k[i] * strides[i]); what lies beyond is zeros. The source is only read. Returns the
 * chunk's size in bytes or an error code. */
int64_t cat_encode(const cat_grid *grid, const cat_compression *compression, const uint8_t *src,
                   const int64_t *strides, const int64_t *extent, uint8_t *dest, int64_t destsize,
                   int64_t *where);

#endif
