/* The order in which the blocks of a chunk are stored.
 *
 * They lie along a Hilbert curve through the grid of blocks, each axis of which is stretched to the same
 * power of two. So the blocks of a plane are in few runs, whatever axis it is across. In C order they are
 * one run across the first axis, and across the last one a run each. Block 0 comes first. */
#ifndef CATERVA_CFFI_ORDER_H
#define CATERVA_CFFI_ORDER_H

#include "geometry.h"

/* The axes with several blocks; none if the order is C order. */
typedef struct {
  int n;
  int bits; /* of a position, once the axes are stretched */
  int64_t blocks[CAT_MAX_DIM];
} block_curve;

block_curve cat_find_curve(const geometry *g);

/* Where a block is in the order: blocks with smaller keys come before it. */
uint64_t cat_find_key(const geometry *g, const block_curve *c, int64_t number);

/* Find the numbers of the blocks in this order; NULL where it is C order. To be freed. Returns 0 or
 * CAT_ERROR_MEMORY. */
int cat_find_order(const geometry *g, int32_t **order);

#endif
