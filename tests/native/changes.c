/* A part of a chunk is replaced: its items change, no others do. */
#include "tests.h"

static int64_t update(const sample *s, const bytes *chunk, const cat_box *box, const uint8_t *src,
                      const memory *from, uint8_t *dest, int64_t bound, int nthreads) {
  cat_where where;
  return cat_update(&s->grid, &s->compression, chunk->data, chunk->size, box, src + from->first,
                    from->strides, dest, bound, nthreads, &where);
}

static int update_in_place(const sample *s, uint8_t *chunk, int64_t size, const cat_box *box,
                           const uint8_t *src, const memory *from) {
  cat_where where;
  return cat_update_in_place(&s->grid, &s->compression, chunk, size, box, src + from->first,
                             from->strides, 2, &where);
}

/* Put together what a new chunk is made of. */
static uint8_t *join(const bytes *chunk, const uint8_t *fresh, const cat_span *spans, int64_t n,
                     int64_t size) {
  uint8_t *made = allocate(size);
  int64_t at = 0;
  for (int64_t i = 0; i < n; i++) {
    CHECK(spans[i].size > 0 && spans[i].size <= size - at, "%lld bytes", (long long)spans[i].size);
    memcpy(made + at, (spans[i].kept ? chunk->data : fresh) + spans[i].start,
           (size_t)spans[i].size);
    at += spans[i].size;
  }
  CHECK(at == size, "%lld of %lld bytes", (long long)at, (long long)size);
  return made;
}

/* The same comes of a chunk in a file as in memory, unless hardly a byte of it would stay. */
static void check_plan(generator *g, const sample *s, const bytes *chunk, const cat_box *box,
                       const uint8_t *src, const memory *from, const uint8_t *expected,
                       int64_t size) {
  test_file file = new_file();
  cat_place place = place_chunk(g, &file, between(g, 0, 5000), chunk);
  cat_where where;
  int64_t n = -1, bound = cat_update_bound(&s->grid, box, &n);
  if (bound == CAT_ERROR_DIFFERENT && size == CAT_ERROR_DIFFERENT) {
    remove_file(&file);
    return; /* nothing changes */
  }
  CHECK(bound > 0 && n > 0, "%lld bytes, %lld spans", (long long)bound, (long long)n);
  cat_span *spans = allocate(n * (int64_t)sizeof *spans);
  uint8_t *fresh = allocate(bound);
  int64_t short_of = n;
  int64_t found = cat_plan_update(&s->grid, &s->compression, &place, box, src + from->first,
                                  from->strides, fresh, bound - 1, spans, &short_of, 1, &where);
  CHECK(found == CAT_ERROR_TRUNCATED || found == size || is_special(chunk->data), "%lld",
        (long long)found);
  found = cat_plan_update(&s->grid, &s->compression, &place, box, src + from->first,
                          from->strides, fresh, bound, spans, &n, one_in(g, 2) ? 3 : 1, &where);
  if (is_special(chunk->data)) {
    CHECK(found == CAT_ERROR_DIFFERENT || found == size, "%lld", (long long)found);
  } else {
    CHECK(found == size, "%lld bytes in a file, %lld in memory", (long long)found, (long long)size);
    if (size > 0) {
      uint8_t *made = join(chunk, fresh, spans, n, size);
      CHECK(memcmp(made, expected, (size_t)size) == 0, "%lld bytes", (long long)size);
      free(made);
      count_event(CHUNK_CHANGED_IN_FILE);
    }
  }
  free(fresh);
  free(spans);
  remove_file(&file);
}

void test_changes(generator *g) {
  sample s = random_sample(g, one_in(g, 10) ? 1 << 20 : 1 << 12);
  const cat_grid *grid = &s.grid;
  memory dense = dense_memory(grid->ndim, grid->itemsize, grid->chunk);
  uint8_t *items = allocate(dense.span);
  fill_random(g, items, dense.span, grid->itemsize);
  bytes chunk = encode(&s, items, &dense, 1);
  if (chunk.size > 0 && !grid->checksums && one_in(g, 3)) {
    reorder_blocks(g, &chunk, count_chunk_blocks(grid));
  }
  for (int i = 0; i < 3 && chunk.size > 0; i++) {
    cat_box box = random_box(g, grid->ndim, grid->chunk);
    for (int d = 0, one = one_in(g, 2); one && d < grid->ndim; d++) {
      box.count[d] = box.count[d] > 0; /* a change that mostly fits the block's place */
    }
    memory from = random_memory(g, grid->ndim, grid->itemsize, box.count, 1);
    uint8_t *src = allocate(from.span);
    fill_random(g, src, from.span, grid->itemsize);
    uint8_t *src_before = copy_bytes(src, from.span);
    uint8_t *chunk_before = copy_bytes(chunk.data, chunk.size);
    int64_t bound = cat_encode_bound(grid);
    uint8_t *changed = allocate(bound), *again = allocate(bound);
    int64_t size = update(&s, &chunk, &box, src, &from, changed, bound, 1);
    int64_t size_again = update(&s, &chunk, &box, src, &from, again, bound, 4);
    CHECK(size == size_again && (size < 0 || memcmp(changed, again, (size_t)size) == 0),
          "%lld and %lld bytes", (long long)size, (long long)size_again);
    check_plan(g, &s, &chunk, &box, src, &from, changed, size);
    uint8_t *place = copy_bytes(chunk.data, chunk.size);
    int in_place = update_in_place(&s, place, chunk.size, &box, src, &from);
    CHECK(in_place == 1 ? size >= 0 : memcmp(place, chunk_before, (size_t)chunk.size) == 0,
          "%d in place, otherwise %lld bytes", in_place, (long long)size);
    CHECK(memcmp(src, src_before, (size_t)from.span) == 0, "the source changed");
    CHECK(memcmp(chunk.data, chunk_before, (size_t)chunk.size) == 0, "the chunk changed");
    if (size >= 0) {
      bytes made = in_place == 1 ? (bytes){copy_bytes(place, chunk.size), chunk.size}
                                 : (bytes){copy_bytes(changed, size), size};
      free(chunk.data);
      chunk = made;
      cat_piece whole = {0, chunk.size, chunk.data};
      /* Item by item, from one memory to the other. */
      int64_t k[CAT_MAX_DIM] = {0};
      do {
        cat_box from_item = {0}, to_item = {0};
        memory at = dense;
        for (int d = 0; d < grid->ndim; d++) {
          from_item.start[d] = k[d];
          from_item.count[d] = to_item.count[d] = from_item.step[d] = 1;
          at.first += (box.start[d] + (k[d] ? k[d] * box.step[d] : 0)) * dense.strides[d];
        }
        copy_box(items, &at, src, &from, &from_item);
      } while (advance(k, box.count, grid->ndim));
      box = whole_box(grid->ndim, grid->chunk);
      if (!s.lossy) {
        check_decoding(g, &s, &whole, 1, &box, items, 1);
      }
      count_event(in_place == 1 ? CHUNK_CHANGED_IN_PLACE : CHUNK_CHANGED);
    } else {
      CHECK(s.compression.codec >= BLOSC_LAST_CODEC || size == CAT_ERROR_DIFFERENT ||
                s.compression.filters[5] >= BLOSC_TRUNC_PREC,
            "error %lld", (long long)size);
    }
    free(place);
    free(again);
    free(changed);
    free(chunk_before);
    free(src_before);
    free(src);
  }
  free(chunk.data);
  free(items);
}
