#include "order.h"

#include <stdlib.h>

enum { KEY_BITS = 64, MOST_BLOCKS = 1 << 20 };

/* The axes with several blocks. */
typedef struct {
  int n;
  int bits; /* of a position, once the axes are stretched */
  int64_t blocks[CAT_MAX_DIM];
} curve;

typedef struct {
  uint64_t key;
  int32_t number;
} placed;

static curve find_curve(const geometry *g) {
  curve c = {0};
  for (int d = 0; d < g->ndim; d++) {
    if (g->blocks[d] > 1) {
      c.blocks[c.n++] = g->blocks[d];
      while ((int64_t)1 << c.bits < g->blocks[d]) {
        c.bits++;
      }
    }
  }
  return c;
}

/* The place along a Hilbert curve, by J. Skilling's algorithm (AIP Conf. Proc. 707, 2004): rotations and
 * reflections of the cells are undone from the largest ones on, and what is left is a Gray code. */
static uint64_t find_key(const curve *c, uint32_t *at) {
  uint32_t top = (uint32_t)1 << (c->bits - 1), flip = 0;
  for (uint32_t bit = top; bit > 1; bit >>= 1) {
    for (int d = 0; d < c->n; d++) {
      uint32_t lower = bit - 1, differ = (at[0] ^ at[d]) & lower;
      if (at[d] & bit) {
        at[0] ^= lower;
      } else {
        at[0] ^= differ;
        at[d] ^= differ;
      }
    }
  }
  for (int d = 1; d < c->n; d++) {
    at[d] ^= at[d - 1];
  }
  for (uint32_t bit = top; bit > 1; bit >>= 1) {
    flip ^= at[c->n - 1] & bit ? bit - 1 : 0;
  }
  uint64_t key = 0;
  for (int b = c->bits - 1; b >= 0; b--) {
    for (int d = 0; d < c->n; d++) {
      key = key << 1 | ((at[d] ^ flip) >> b & 1);
    }
  }
  return key;
}

static int compare_keys(const void *a, const void *b) {
  uint64_t x = ((const placed *)a)->key, y = ((const placed *)b)->key;
  return (x > y) - (x < y);
}

static void place_blocks(const curve *c, placed *blocks, int64_t n) {
  int64_t at[CAT_MAX_DIM] = {0};
  for (int64_t number = 0; number < n; number++) {
    uint32_t stretched[CAT_MAX_DIM];
    for (int d = 0; d < c->n; d++) {
      stretched[d] = (uint32_t)((at[d] << c->bits) / c->blocks[d]);
    }
    blocks[number] = (placed){find_key(c, stretched), (int32_t)number};
    for (int d = c->n - 1; d >= 0 && ++at[d] == c->blocks[d]; d--) {
      at[d] = 0;
    }
  }
}

int cat_find_order(const geometry *g, int32_t **order) {
  curve c = find_curve(g);
  *order = NULL;
  if (c.n < 2 || c.n * c.bits > KEY_BITS || g->nblocks > MOST_BLOCKS) {
    return 0;
  }
  placed *blocks = malloc((size_t)g->nblocks * sizeof *blocks);
  int32_t *numbers = malloc((size_t)g->nblocks * sizeof *numbers);
  if (blocks == NULL || numbers == NULL) {
    free(blocks);
    free(numbers);
    return CAT_ERROR_MEMORY;
  }
  place_blocks(&c, blocks, g->nblocks);
  qsort(blocks, (size_t)g->nblocks, sizeof *blocks, compare_keys);
  for (int64_t i = 0; i < g->nblocks; i++) {
    numbers[i] = blocks[i].number;
  }
  free(blocks);
  *order = numbers;
  return 0;
}
