#include "order.h"

#include <stdlib.h>

enum { KEY_BITS = 64, MOST_BLOCKS = 1 << 20 };

typedef struct {
  uint64_t key;
  int32_t number;
} placed;

block_curve cat_find_curve(const geometry *g) {
  block_curve c = {0};
  for (int d = 0; d < g->ndim; d++) {
    if (g->blocks[d] > 1) {
      c.blocks[c.n++] = g->blocks[d];
      while ((int64_t)1 << c.bits < g->blocks[d]) {
        c.bits++;
      }
    }
  }
  if (c.n < 2 || c.n * c.bits > KEY_BITS || g->nblocks > MOST_BLOCKS) {
    c.n = 0;
  }
  return c;
}

/* The position along a Hilbert curve, by J. Skilling's algorithm (AIP Conf. Proc. 707, 2004): rotations
 * and reflections of the cubes are undone from the largest ones on, and what is left is a Gray code. */
static uint64_t find_position(const block_curve *c, uint32_t *at) {
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

uint64_t cat_find_key(const geometry *g, const block_curve *c, int64_t number) {
  if (c->n == 0) {
    return (uint64_t)number;
  }
  uint32_t stretched[CAT_MAX_DIM];
  for (int d = g->ndim - 1, axis = c->n; d >= 0; d--) {
    if (g->blocks[d] > 1) {
      stretched[--axis] = (uint32_t)((number % g->blocks[d] << c->bits) / g->blocks[d]);
      number /= g->blocks[d];
    }
  }
  return find_position(c, stretched);
}

int cat_find_order(const geometry *g, int32_t **order) {
  block_curve c = cat_find_curve(g);
  *order = NULL;
  if (c.n == 0) {
    return 0;
  }
  placed *blocks = malloc((size_t)g->nblocks * sizeof *blocks);
  int32_t *numbers = malloc((size_t)g->nblocks * sizeof *numbers);
  if (blocks == NULL || numbers == NULL) {
    free(blocks);
    free(numbers);
    return CAT_ERROR_MEMORY;
  }
  for (int64_t b = 0; b < g->nblocks; b++) {
    blocks[b] = (placed){cat_find_key(g, &c, b), (int32_t)b};
  }
  qsort(blocks, (size_t)g->nblocks, sizeof *blocks, compare_keys);
  for (int64_t i = 0; i < g->nblocks; i++) {
    numbers[i] = blocks[i].number;
  }
  free(blocks);
  *order = numbers;
  return 0;
}
