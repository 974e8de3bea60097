#include "offsets.h"

#include <stdlib.h>

#include "chunk.h"

enum { MANY = 16 }; /* sorting costs less than searching all offsets for each of so many blocks */

static int32_t offset_of(const block_offsets *offsets, int64_t block) {
  return load_int32(offsets->stored + OFFSET * block);
}

static int compare_int32(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

int cat_init_offsets(block_offsets *offsets, int64_t wanted) {
  if (wanted <= MANY || offsets->in_order || offsets->sorted != NULL) {
    return 0;
  }
  int64_t n = offsets->nblocks;
  offsets->in_order = 1;
  for (int64_t b = 1; b < n && offsets->in_order; b++) {
    offsets->in_order = offset_of(offsets, b - 1) < offset_of(offsets, b);
  }
  if (offsets->in_order) {
    return 0;
  }
  offsets->sorted = malloc((size_t)n * sizeof *offsets->sorted);
  if (offsets->sorted == NULL) {
    return CAT_ERROR_MEMORY;
  }
  for (int64_t b = 0; b < n; b++) {
    offsets->sorted[b] = offset_of(offsets, b);
  }
  qsort(offsets->sorted, (size_t)n, sizeof *offsets->sorted, compare_int32);
  return 0;
}

void cat_free_offsets(block_offsets *offsets) { free(offsets->sorted); }

/* The block's end: where the next one begins. If another block begins at its start, that. */
static int32_t end_of(const block_offsets *offsets, int64_t block, int32_t start) {
  int64_t n = offsets->nblocks;
  if (offsets->in_order) {
    return block + 1 < n ? offset_of(offsets, block + 1) : offsets->cbytes;
  }
  if (offsets->sorted == NULL) {
    int32_t end = offsets->cbytes, same = 0;
    /* Without branches, so that the compiler compares many at once. */
    for (int64_t b = 0; b < n; b++) {
      int32_t other = offset_of(offsets, b);
      same += other == start;
      other = other > start ? other : INT32_MAX;
      end = other < end ? other : end;
    }
    return same == 1 ? end : start;
  }
  int64_t low = 0, high = n;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (offsets->sorted[middle] <= start) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low > 1 && offsets->sorted[low - 2] == start) {
    return start;
  }
  return low < n ? offsets->sorted[low] : offsets->cbytes;
}

int cat_find_stored(const block_offsets *offsets, int64_t block, int32_t *start, int32_t *end) {
  *start = offset_of(offsets, block);
  *end = end_of(offsets, block, *start);
  int inside = *start >= offsets->body && *start < *end && *end <= offsets->cbytes;
  return inside ? 0 : CAT_ERROR_OFFSET;
}
