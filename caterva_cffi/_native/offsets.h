/* Where the blocks of a chunk are: each from its offset to the next larger one, in any order. */
#ifndef CATERVA_CFFI_OFFSETS_H
#define CATERVA_CFFI_OFFSETS_H

#include <stdint.h>

typedef struct {
  const uint8_t *stored; /* int32 little-endian, one for each block */
  int64_t nblocks;
  int32_t body;    /* where the first block may begin */
  int32_t cbytes;  /* where the last one ends */
  int in_order;    /* each block is known to end where the next one begins */
  int32_t *sorted; /* of our own, or NULL */
} block_offsets;

/* Look at the offsets of which so many were asked for and will be, all together. Returns 0 or
 * CAT_ERROR_MEMORY. */
int cat_init_offsets(block_offsets *offsets, int64_t wanted);
void cat_free_offsets(block_offsets *offsets);

/* Find a block's place in its chunk. Returns 0, or CAT_ERROR_OFFSET where it lies outside or where
 * another block begins too. */
int cat_find_stored(const block_offsets *offsets, int64_t block, int32_t *start, int32_t *end);

#endif
