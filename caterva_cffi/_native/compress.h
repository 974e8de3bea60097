/* Blocks, compressed one by one. C-Blosc2 decodes them in a chunk; mostly they are the bytes that it
 * would write itself. */
#ifndef CATERVA_CFFI_COMPRESS_H
#define CATERVA_CFFI_COMPRESS_H

#include <lz4.h>

#include "chunk.h"
#include "geometry.h"
#include "streams.h"

/* What a thread compresses with. */
typedef struct {
  geometry g;
  uint8_t codec;           /* of the context */
  uint8_t clevel;
  blosc2_context *context;
  plugin_context *plugin;
  uint8_t *scratch;        /* a mini-chunk */
  uint8_t header[HEADER];  /* of the chunk, once a block is compressed */
  int begun;
  int direct;              /* blocks are compressed without C-Blosc2 */
  stream_coding coding;
  LZ4_stream_t *lz4;
} compressor;

/* Geometry and compression must be valid. Returns 0 or an error code; free it in any case. */
int cat_init_compressor(compressor *c, const cat_grid *grid, const cat_compression *compression);
void cat_free_compressor(compressor *c);

/* Whether blocks can be compressed one by one. */
int cat_in_blocks(const geometry *g, const cat_compression *compression);

/* The most bytes of a compressed block: each stream may be stored as it is. */
int64_t cat_block_bound(const geometry *g);

/* For a chunk that is encoded here without a dictionary: where blocks begin; and its most bytes, which
 * it has if its blocks are stored as they are. */
int64_t cat_body_of(const cat_grid *grid, const geometry *g);
int64_t cat_limit_of(const cat_grid *grid, const geometry *g);

/* The bytes of a block of zeros, in a chunk with this header. */
int32_t cat_zero_size(const geometry *g, const uint8_t *header);

/* Compress a block. Returns its size, 0 if the chunk is to be stored as it is, or an error. */
int32_t cat_compress_block(compressor *c, const uint8_t *block, uint8_t *dest);

#endif
