/* Blocks of a chunk, read from an array of any strides. */
#ifndef CATERVA_CFFI_GATHER_H
#define CATERVA_CFFI_GATHER_H

#include "geometry.h"

/* The items of a chunk: the first `extent` along each dimension are in the array, the rest are zeros.
 *
 * Neighbouring blocks are read in groups where that makes longer runs of the array's memory. The
 * blocks of a group have consecutive numbers. */
typedef struct {
  const geometry *g;
  const uint8_t *items;
  const int64_t *strides;
  const int64_t *extent;
  int axis;       /* along which blocks are grouped */
  int64_t length; /* blocks along it */
  int64_t most;   /* of them in a group */
  int64_t layer;  /* difference between the numbers of neighbours */
} block_source;

typedef struct {
  int64_t first; /* number of a block */
  int64_t count;
} block_group;

/* Without `grouped`, each block is a group of its own. */
block_source cat_find_source(const geometry *g, const uint8_t *items, const int64_t *strides,
                             const int64_t *extent, int grouped);
int64_t cat_count_groups(const block_source *source);
block_group cat_find_group(const block_source *source, int64_t number);

/* Blocks in the largest group. */
int64_t cat_most_grouped(const block_source *source);

/* Copy the blocks of a group; each begins `slot` bytes behind the one before. */
void cat_gather_group(const block_source *source, block_group group, uint8_t *dest, int64_t slot);

#endif
