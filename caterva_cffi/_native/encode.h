/* What encoding a chunk and changing one share. */
#ifndef CATERVA_CFFI_ENCODE_H
#define CATERVA_CFFI_ENCODE_H

#include "chunk.h"
#include "geometry.h"

/* Check a grid and a compression, and find the geometry. Returns 0 or an error code. */
int cat_check_compression(const cat_grid *grid, const cat_compression *compression, int64_t destsize,
                          geometry *g);

/* Finish a chunk of `cbytes` bytes: set what the header of a chunk of one block lacks, and shorten it
 * to its header where all blocks are zeros. Returns the chunk's size. */
int64_t cat_finish_header(const geometry *g, uint8_t *chunk, int64_t cbytes, int zeros);

#endif
