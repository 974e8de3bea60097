/* Chunks, encoded: what the files of encoding and of changing chunks share. */
#ifndef CATERVA_CFFI_ENCODE_H
#define CATERVA_CFFI_ENCODE_H

#include "chunk.h"
#include "gather.h"
#include "geometry.h"

/* A chunk that is encoded. */
typedef struct {
  const cat_grid *grid;
  const cat_compression *compression;
  geometry g;
  block_source source; /* of the items */
  int64_t ngroups;     /* of blocks, in the source */
  int32_t *order;      /* of the groups, which are single blocks then; NULL for C order */
  uint8_t *dest;
} encoder;

/* Check a grid and a compression, and find the geometry. Returns 0 or an error code. */
int cat_check_compression(const cat_grid *grid, const cat_compression *compression,
                          int64_t destsize, geometry *g);

/* What one thread compresses blocks with, and the memory for it. */
typedef struct packer packer;

void cat_free_packer(packer *own);

/* These return the chunk's size or an error code. They compress blocks one by one (encode_blocks.c), or
 * all in one call of C-Blosc2 (encode_whole.c), or store them as they are (store.c). The last one needs
 * a chunk that already has the header for this compression. If one thread does all blocks, it takes
 * `kept`, or makes it, for the next chunk of the same grid and compression. */
int64_t cat_encode_blocks(encoder *enc, int nthreads, packer **kept, cat_where *where);
int64_t cat_encode_whole(encoder *enc, int nthreads, cat_where *where);
int64_t cat_store_blocks(encoder *enc, int nthreads, cat_where *where);

/* Finish a chunk of `cbytes` bytes, whose header is that of its first block alone: set the sizes. If
 * all blocks are zeros, shorten it to its header. Returns the chunk's size. */
int64_t cat_finish_header(const geometry *g, uint8_t *chunk, int64_t cbytes, int zeros);

/* Where offsets end, and checksums begin. */
static inline int64_t offsets_end(const geometry *g) { return HEADER + OFFSET * g->nblocks; }

#endif
