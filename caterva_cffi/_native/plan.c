#include <stdlib.h>

#include "chunk.h"
#include "head.h"

typedef struct {
  int64_t start, stop;
} range;

static int compare_ranges(const void *a, const void *b) {
  int64_t x = ((const range *)a)->start, y = ((const range *)b)->start;
  return (x > y) - (x < y);
}

/* Where a block is stored. */
static int find_range(const geometry *g, const chunk_head *head, int64_t number, range *found) {
  if (head->kind == CHUNK_STORED) {
    found->start = HEADER + number * g->blocksize;
    found->stop = found->start + cat_block_bytes(g, number);
    return 0;
  }
  int32_t start, stop;
  int error = cat_find_stored(&head->offsets, number, &start, &stop);
  *found = (range){start, stop};
  return error;
}

/* Where the blocks of some boxes are, in ascending order, one range for each. */
static int find_ranges(const geometry *g, const chunk_head *head, const cat_box *boxes,
                       int64_t nboxes, range *ranges, cat_where *where) {
  static const int64_t nowhere[CAT_MAX_DIM] = {0};
  int64_t n = 0;
  int sorted = 1;
  for (int64_t i = 0; i < nboxes; i++) {
    if (cat_is_empty(&boxes[i], g->ndim)) {
      continue;
    }
    cutting cut = cat_cut(&boxes[i], g->ndim, g->block, g->blocks);
    for (int64_t k = 0; k < cut.n; k++, n++) {
      cut_box block;
      cat_find_cut_box(&cut, k, nowhere, &block);
      int error = find_range(g, head, block.number, &ranges[n]);
      if (error) {
        where->block = block.number;
        return error;
      }
      sorted = sorted && (n == 0 || ranges[n - 1].start <= ranges[n].start);
    }
  }
  if (!sorted) {
    qsort(ranges, (size_t)n, sizeof *ranges, compare_ranges);
  }
  return 0;
}

/* Make one of neighbours with at most `gap` bytes between them. */
static int64_t merge_ranges(const range *ranges, int64_t n, int64_t gap, int64_t *merged,
                            int64_t capacity) {
  int64_t count = 0, stop = 0;
  for (int64_t i = 0; i < n; i++) {
    if (count > 0 && ranges[i].start - stop <= gap) {
      stop = ranges[i].stop > stop ? ranges[i].stop : stop;
    } else {
      if (count < capacity) {
        merged[2 * count] = ranges[i].start;
      }
      count++;
      stop = ranges[i].stop;
    }
    if (count <= capacity) {
      merged[2 * count - 1] = stop;
    }
  }
  return count;
}

/* How many blocks boxes have items in, one by one; or an error code. */
static int64_t count_wanted(const geometry *g, const cat_box *boxes, int64_t nboxes) {
  int64_t wanted = 0;
  for (int64_t i = 0; i < nboxes; i++) {
    int error = cat_check_box(&boxes[i], g->ndim, g->chunk);
    if (error) {
      return error;
    }
    if (!cat_is_empty(&boxes[i], g->ndim)) {
      wanted += cat_cut(&boxes[i], g->ndim, g->block, g->blocks).n;
    }
  }
  return wanted;
}

int64_t cat_plan(const cat_grid *grid, const uint8_t *bytes, int64_t size, const cat_box *boxes,
                 int64_t nboxes, int64_t gap, int64_t *need, int64_t *ranges, int64_t capacity,
                 cat_where *where) {
  *where = (cat_where){-1, -1, 0};
  geometry g;
  int error = cat_find_geometry(grid, &g);
  int64_t wanted = error ? error : count_wanted(&g, boxes, nboxes);
  if (wanted < 0) {
    return wanted;
  }
  chunk_head head;
  *need = cat_read_head(grid, &g, bytes, size, &head);
  if (*need < 0) {
    return *need;
  }
  int all = head.kind == CHUNK_OF_ONE_VALUE || head.kind == CHUNK_AT_ONCE;
  if (*need > size || all || wanted == 0) {
    return 0;
  }
  range *found = malloc((size_t)wanted * sizeof *found);
  if (found == NULL) {
    return CAT_ERROR_MEMORY;
  }
  int64_t count = head.kind == CHUNK_STORED ? 0 : cat_init_offsets(&head.offsets, wanted);
  if (count == 0) {
    count = find_ranges(&g, &head, boxes, nboxes, found, where);
  }
  if (count == 0) {
    count = merge_ranges(found, wanted, gap, ranges, capacity);
  }
  cat_free_offsets(&head.offsets);
  free(found);
  return count;
}
