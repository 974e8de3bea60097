#include <stdlib.h>

#include "checksums.h"
#include "chunk.h"
#include "geometry.h"
#include "kernel.h"
#include "offsets.h"

typedef struct {
  int64_t start, stop;
} range;

static int compare_ranges(const void *a, const void *b) {
  int64_t x = ((const range *)a)->start, y = ((const range *)b)->start;
  return (x > y) - (x < y);
}

/* How many of a chunk's first bytes say where its blocks are, as far as `size` of them tell; `all` is
 * set where decoding needs no others. */
static int64_t measure_head(const cat_grid *grid, const geometry *g, const uint8_t *head,
                            int64_t size, int *all, block_offsets *offsets) {
  *all = 0;
  if (size < HEADER) {
    return HEADER;
  }
  int64_t cbytes = load_int32(head + BLOSC2_CHUNK_CBYTES);
  if (cbytes < HEADER || load_int32(head + BLOSC2_CHUNK_NBYTES) != g->nbytes) {
    return CAT_ERROR_GEOMETRY;
  }
  int plain = head[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED;
  if (special_of(head) != BLOSC2_NO_SPECIAL) {
    int64_t most = HEADER + (int64_t)g->itemsize;
    *all = 1;
    return cbytes < most ? cbytes : most;
  }
  if (!plain && (load_int32(head + BLOSC2_CHUNK_BLOCKSIZE) != g->blocksize ||
                 cat_has_filter(head + BLOSC2_CHUNK_FILTER_CODES, BLOSC_DELTA))) {
    *all = 1;
    return cbytes;
  }
  if (plain) {
    return cbytes == HEADER + (int64_t)g->nbytes ? HEADER : CAT_ERROR_GEOMETRY;
  }
  int64_t body = HEADER + OFFSET * g->nblocks;
  if (head[BLOSC2_CHUNK_BLOSC2_FLAGS] & BLOSC2_USEDICT) {
    int64_t at = body;
    body += OFFSET;
    if (body <= size) {
      int32_t dictionary = load_int32(head + at);
      if (dictionary < 0) {
        return CAT_ERROR_TRUNCATED;
      }
      body += dictionary;
    }
  }
  if (body > cbytes) {
    return CAT_ERROR_TRUNCATED;
  }
  *offsets = (block_offsets){.stored = head + HEADER, .nblocks = g->nblocks, .body = (int32_t)body,
                             .cbytes = (int32_t)cbytes, .in_order = grid->checksums};
  if (grid->checksums || (body <= size && cat_leaves_room(head, body, g->nblocks))) {
    body += cat_checksums_size(g->nblocks);
  }
  return body <= cbytes ? body : CAT_ERROR_TRUNCATED;
}

/* Where the blocks of some boxes are, in ascending order, one range for each. */
static int find_ranges(const geometry *g, const block_offsets *offsets, const cat_box *boxes,
                       int64_t nboxes, range *ranges, cat_where *where) {
  static const int64_t nowhere[CAT_MAX_DIM] = {0};
  int sorted = 1;
  for (int64_t i = 0, n = 0; i < nboxes; i++) {
    int64_t along[CAT_MAX_DIM];
    int64_t wanted =
        cat_is_empty(&boxes[i], g->ndim) ? 0 : cat_count_cells(&boxes[i], g->ndim, g->block, along);
    for (int64_t k = 0; k < wanted; k++, n++) {
      block_part part;
      cat_find_block(g, &boxes[i], along, k, nowhere, &part);
      if (offsets->stored == NULL) { /* blocks are stored as they are */
        ranges[n].start = HEADER + part.number * g->blocksize;
        ranges[n].stop = ranges[n].start + g->blocksize;
      } else {
        int32_t start, stop;
        int error = cat_find_stored(offsets, part.number, &start, &stop);
        if (error) {
          where->block = part.number;
          return error;
        }
        ranges[n] = (range){start, stop};
      }
      sorted = sorted && (n == 0 || ranges[n - 1].start <= ranges[n].start);
      if (k + 1 == wanted && i + 1 == nboxes && !sorted) {
        qsort(ranges, (size_t)(n + 1), sizeof *ranges, compare_ranges);
      }
    }
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

int64_t cat_plan(const cat_grid *grid, const uint8_t *head, int64_t size, const cat_box *boxes,
                 int64_t nboxes, int64_t gap, int64_t *need, int64_t *ranges, int64_t capacity,
                 cat_where *where) {
  *where = (cat_where){-1, -1};
  geometry g;
  block_offsets offsets = {0};
  int error = cat_find_geometry(grid, &g);
  if (error) {
    return error;
  }
  int64_t wanted = 0;
  for (int64_t i = 0; i < nboxes; i++) {
    int64_t along[CAT_MAX_DIM];
    if ((error = cat_check_box(&boxes[i], g.ndim, g.chunk))) {
      return error;
    }
    wanted += cat_is_empty(&boxes[i], g.ndim) ? 0 : cat_count_cells(&boxes[i], g.ndim, g.block, along);
  }
  int all;
  *need = measure_head(grid, &g, head, size, &all, &offsets);
  if (*need < 0) {
    return *need;
  }
  if (*need > size || all || wanted == 0) {
    return 0;
  }
  range *found = malloc((size_t)wanted * sizeof *found);
  if (found == NULL) {
    return CAT_ERROR_MEMORY;
  }
  int64_t count = offsets.stored == NULL ? 0 : cat_init_offsets(&offsets, wanted);
  if (count == 0) {
    count = find_ranges(&g, &offsets, boxes, nboxes, found, where);
  }
  if (count == 0) {
    count = merge_ranges(found, wanted, gap, ranges, capacity);
  }
  cat_free_offsets(&offsets);
  free(found);
  return count;
}
