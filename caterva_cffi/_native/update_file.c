/* Chunks in files that change: what is new of them, and which of their bytes stay. */
#include <string.h>

#include "compress.h"
#include "encode.h"
#include "update.h"

/* Spans of the new chunk that are made one after the other. */
typedef struct {
  cat_span *spans;
  int64_t n;
  int64_t most;
} span_list;

/* Add bytes, to the last span if they follow it. Returns 0, or CAT_ERROR_DIFFERENT without room. */
static int add_bytes(span_list *list, int kept, int64_t start, int64_t size) {
  cat_span *last = list->n ? &list->spans[list->n - 1] : NULL;
  if (last != NULL && last->kept == kept && last->start + last->size == start) {
    last->size += size;
    return 0;
  }
  if (list->n == list->most) {
    return CAT_ERROR_DIFFERENT;
  }
  list->spans[list->n++] = (cat_span){start, size, kept};
  return 0;
}

/* Write what is new, and list all spans. Returns the chunk's size or CAT_ERROR_DIFFERENT. */
static int64_t list_spans(const updater *u, uint8_t *fresh, span_list *list) {
  int64_t cbytes = cat_write_head(u, fresh);
  int64_t at = cbytes > HEADER ? cat_body_of(u->grid, &u->g) : cbytes;
  int error = cbytes < 0 ? (int)cbytes : add_bytes(list, 0, 0, at);
  for (int64_t i = 0; !error && cbytes > HEADER && i < u->g.nblocks; i++) {
    stored_block b = u->blocks[cat_stored_at(u, i)];
    if (b.bytes == NULL) {
      error = add_bytes(list, 1, b.start, b.size);
    } else {
      memcpy(fresh + at, b.bytes, (size_t)b.size);
      error = add_bytes(list, 0, at, b.size);
      at += b.size;
    }
  }
  return error ? error : cbytes;
}

static int64_t bound_of(const cat_grid *grid, const geometry *g, const cutting *cut) {
  return cat_body_of(grid, g) + cut->n * cat_block_bound(g);
}

int64_t cat_update_bound(const cat_grid *grid, const cat_box *box, int64_t *nspans) {
  geometry g;
  int error = cat_find_geometry(grid, &g);
  if (error || (error = cat_check_box(box, g.ndim, g.chunk))) {
    return error;
  }
  if (cat_is_empty(box, g.ndim)) {
    return CAT_ERROR_DIFFERENT;
  }
  cutting cut = cat_cut(box, g.ndim, g.block, g.blocks);
  /* The head, each block with what is in front of it, and what is behind all of them. */
  *nspans = 2 * cut.n + 2;
  return bound_of(grid, &g, &cut);
}

/* Returns 0, an error code, or CAT_ERROR_DIFFERENT. */
static int change(updater *u, const cat_place *place, int64_t size, int nthreads,
                  cat_where *where) {
  int error = cat_check_change(u, INT64_MAX);
  if (error || (error = cat_update_file(u, place, where)) ||
      (error = cat_init_updater(u, where))) {
    return error;
  }
  if (special_of(u->chunk) != BLOSC2_NO_SPECIAL) {
    return CAT_ERROR_DIFFERENT; /* a chunk of a few bytes, of which none would stay */
  }
  if (size < bound_of(u->grid, &u->g, &u->cut)) {
    return CAT_ERROR_TRUNCATED;
  }
  return cat_update_blocks(u, nthreads, where);
}

int64_t cat_plan_update(const cat_grid *grid, const cat_compression *compression,
                        const cat_place *place, const cat_box *box, const uint8_t *src,
                        const int64_t *strides, uint8_t *fresh, int64_t size, cat_span *spans,
                        int64_t *nspans, int nthreads, cat_where *where) {
  updater u = {.grid = grid, .compression = compression, .box = box, .src = src,
               .strides = strides};
  span_list list = {spans, 0, *nspans};
  *where = (cat_where){-1, -1, 0};
  int64_t result = change(&u, place, size, nthreads, where);
  if (!result) {
    result = list_spans(&u, fresh, &list);
  }
  *nspans = list.n;
  cat_free_updater(&u);
  return result;
}
