#include "offsets.h"

#include <stdlib.h>

#include "chunk.h"

enum { MANY = 16 }; /* sorting costs less than searching all offsets for each of so many blocks */

static int32_t offset_of(const block_offsets *offsets, int64_t block) {
  return load_int32(offsets->stored + OFFSET * block);
}

enum { DIGIT = 8, DIGITS = 1 << DIGIT };

/* The digit of an offset that begins at a bit; negative ones, which no chunk has, come first. */
static int digit_of(int32_t offset, int shift) {
  return (int)((((uint32_t)offset ^ 0x80000000) >> shift) & (DIGITS - 1));
}

/* Sort by digits, the last ones first: that takes a fifth of qsort's time. */
static void sort_offsets(int32_t *values, int32_t *other, int64_t n) {
  int32_t *from = values, *to = other;
  for (int shift = 0; shift < 32; shift += DIGIT, from = to, to = from == values ? other : values) {
    int64_t places[DIGITS] = {0};
    for (int64_t i = 0; i < n; i++) {
      places[digit_of(from[i], shift)]++;
    }
    int64_t at = 0;
    for (int d = 0; d < DIGITS; d++) {
      int64_t count = places[d];
      places[d] = at;
      at += count;
    }
    for (int64_t i = 0; i < n; i++) {
      to[places[digit_of(from[i], shift)]++] = from[i];
    }
  }
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
  offsets->sorted = malloc((size_t)n * 2 * sizeof *offsets->sorted); /* half of it to sort with */
  if (offsets->sorted == NULL) {
    return CAT_ERROR_MEMORY;
  }
  for (int64_t b = 0; b < n; b++) {
    offsets->sorted[b] = offset_of(offsets, b);
  }
  sort_offsets(offsets->sorted, offsets->sorted + n, n);
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
