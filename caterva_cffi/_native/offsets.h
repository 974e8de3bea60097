/* Where the blocks of a chunk are: each reaches from its offset to the next larger one. Blocks may be
 * stored in any order. */
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

/* Sort the offsets if that pays; `wanted` blocks were or will be looked for. Returns 0 or
 * CAT_ERROR_MEMORY. */
int cat_init_offsets(block_offsets *offsets, int64_t wanted);
void cat_free_offsets(block_offsets *offsets);

/* Find where a block is in its chunk. Returns 0, or CAT_ERROR_OFFSET if it lies outside, or if another
 * block begins at the same byte. */
int cat_find_stored(const block_offsets *offsets, int64_t block, int32_t *start, int32_t *end);

#endif
