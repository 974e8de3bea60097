/* Chunks of which some blocks change: what the files of changing them share. */
#ifndef CATERVA_CFFI_UPDATE_H
#define CATERVA_CFFI_UPDATE_H

#include "chunk.h"
#include "geometry.h"

/* A block of the new chunk: kept from the old one or compressed. */
typedef struct {
  const uint8_t *bytes; /* or NULL */
  int32_t size;
  uint32_t checksum; /* if the grid has checksums */
} stored_block;

/* A chunk that changes. */
typedef struct {
  const cat_grid *grid;
  const cat_compression *compression;
  geometry g;
  const uint8_t *chunk; /* as it was */
  int32_t cbytes;
  const cat_box *box;   /* what changes */
  cutting cut;          /* of the box, at blocks */
  const uint8_t *src;
  const int64_t *strides;
  int64_t task_blocks;
  int64_t ntasks;
  uint8_t **results;    /* of the tasks */
  stored_block *blocks;
  uint8_t header[HEADER]; /* of a chunk of the blocks that are compressed now */
} updater;

/* Prepare a change: find the old blocks, and divide the work into tasks. `destsize` is the room for the
 * new chunk. Returns 0, an error code, or CAT_ERROR_DIFFERENT if blocks cannot stay as they are. Free
 * it in any case. */
int cat_init_updater(updater *u, int64_t cbytes, int64_t destsize, cat_where *where);
void cat_free_updater(updater *u);

/* Change and compress the blocks that the box touches (update_blocks.c). Then all blocks of the new
 * chunk are there. Returns as above. */
int cat_update_blocks(updater *u, int nthreads, cat_where *where);

#endif
