/* Blocks of the commonest kind, decoded without C-Blosc2: LZ4 or Zstandard, and SHUFFLE or no filter.
 *
 * C-Blosc2 decodes a block into memory of the block's size. Here bytes go from their streams straight
 * to where they are wanted: items are put together from their bytes only in the destination, and
 * streams that were stored as they are need not be copied at all. */
#ifndef CATERVA_CFFI_STREAMS_H
#define CATERVA_CFFI_STREAMS_H

#include "geometry.h"

/* How each block of a chunk is coded in streams. */
typedef struct {
  int format;   /* BLOSC_LZ4_FORMAT or BLOSC_ZSTD_FORMAT */
  int typesize; /* bytes that SHUFFLE took apart; 1 where nothing was shuffled */
  int streams;  /* of a block */
} stream_coding;

/* Read the coding from a chunk's header; returns 0 if the chunk is of another kind. */
int cat_find_streams(const uint8_t *header, int32_t itemsize, stream_coding *coding);

/* Decode the streams of a block up to the item that ends at `end`. `bytes[j]` is then where the j-th
 * bytes of all items lie: in `scratch`, which is as large as a block, or, unless `gather` is set, among
 * the `size` bytes of the block itself. If `exact` is set, the streams must end where the block ends:
 * only zeros may follow them. `zstd` is a context, which is kept for the next block. Returns 0 or an
 * error code. */
int cat_decode_streams(const stream_coding *coding, const uint8_t *block, int64_t size, int exact,
                       int32_t blocksize, int64_t end, int gather, uint8_t *scratch,
                       const uint8_t **bytes, void **zstd);

/* Put the wanted items of a block together from their bytes. `part` counts bytes of a block with whole
 * items. If C-Blosc2 does this faster, nothing is done, and 0 is returned. */
int cat_unshuffle_part(const stream_coding *coding, const uint8_t *const *bytes,
                       const geometry *g, const block_part *part, uint8_t *dest,
                       const int64_t *strides);

#endif
