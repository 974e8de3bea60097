/* The order in which the blocks of a chunk are stored.
 *
 * They lie along a Hilbert curve through the grid of blocks, each axis of which is stretched to the same
 * power of two. So the blocks of a plane are in few runs, whatever axis it is across. In C order they are
 * one run across the first axis, and across the last one a run each. Block 0 comes first. */
#ifndef CATERVA_CFFI_ORDER_H
#define CATERVA_CFFI_ORDER_H

#include "geometry.h"

/* Find the numbers of the blocks in this order; NULL where it is C order. To be freed. Returns 0 or
 * CAT_ERROR_MEMORY. */
int cat_find_order(const geometry *g, int32_t **order);

#endif
