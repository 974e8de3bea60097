/* Chunks of which some blocks change: what the files of changing them share. */
#ifndef CATERVA_CFFI_UPDATE_H
#define CATERVA_CFFI_UPDATE_H

#include "chunk.h"
#include "decode.h"
#include "geometry.h"

/* A block of the new chunk: kept from the old one or compressed. */
typedef struct {
  const uint8_t *bytes; /* compressed now; NULL if it is kept, or before */
  int32_t start;        /* in the old chunk */
  int32_t size;         /* 0 in a chunk to which nothing was written */
  uint32_t checksum;    /* if the grid has checksums */
} stored_block;

/* A chunk that changes. */
typedef struct {
  const cat_grid *grid;
  const cat_compression *compression;
  geometry g;
  cat_piece piece;      /* the chunk as it was, in memory */
  cat_part before;      /* the same, wherever it is */
  scratch reading;      /* by which its head is read from a file */
  const uint8_t *chunk; /* its first bytes, at least its head; all of them if it is in memory */
  int64_t size;         /* of these */
  const cat_box *box;   /* what changes */
  cutting cut;          /* of the box, at blocks */
  const uint8_t *src;
  const int64_t *strides;
  int64_t task_blocks;
  int64_t ntasks;
  uint8_t **results;    /* of the tasks */
  stored_block *blocks;
  int32_t *order;       /* the numbers of the blocks, as they are stored; NULL for C order */
  uint8_t header[HEADER]; /* of a chunk of the blocks that are compressed now */
} updater;

/* Check what is asked for, and find the geometry. `destsize` is the room for the new chunk. Returns 0 or
 * an error code. */
int cat_check_change(updater *u, int64_t destsize);

/* Take up a chunk in memory, or in a file. Returns 0 or an error code. */
int cat_update_memory(updater *u, const uint8_t *chunk, int64_t cbytes);
int cat_update_file(updater *u, const cat_place *place, cat_where *where);

/* Prepare a change: find the old blocks, and divide the work into tasks. Returns 0, an error code, or
 * CAT_ERROR_DIFFERENT if blocks cannot stay as they are. Free it in any case. */
int cat_init_updater(updater *u, cat_where *where);
void cat_free_updater(updater *u);

/* Change and compress the blocks that the box touches (update_blocks.c). Then all blocks of the new
 * chunk are there. Returns as above. */
int cat_update_blocks(updater *u, int nthreads, cat_where *where);

/* Which block is the i-th one in the chunk. */
static inline int64_t cat_stored_at(const updater *u, int64_t i) {
  return u->order == NULL ? i : u->order[i];
}

/* Write the new chunk's head. Returns the chunk's size; that is the header's if all blocks are zeros, or
 * CAT_ERROR_DIFFERENT where it is to be stored as it is. */
int64_t cat_write_head(const updater *u, uint8_t *dest);

#endif
