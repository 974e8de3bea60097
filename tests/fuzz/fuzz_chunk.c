/* A chunk from a stranger, of a geometry that is known: planned, decoded whole and from pieces, changed.
 *
 * An input is the number of dimensions (1 byte; 128 more where blocks have checksums), the item size,
 * and for each dimension the sides of the chunk and of a block (2 bytes each, little-endian), and behind
 * them the chunk. */
#include "support.h"

static int64_t take_short(const uint8_t **at, const uint8_t *end) {
  if (end - *at < 2) {
    return -1;
  }
  int64_t value = (*at)[0] | (*at)[1] << 8;
  *at += 2;
  return value;
}

static int take_grid(const uint8_t **at, const uint8_t *end, cat_grid *grid) {
  if (*at == end) {
    return 0;
  }
  grid->checksums = **at >> 7;
  grid->ndim = (*(*at)++ & 0x7F) % (CAT_MAX_DIM + 1);
  grid->itemsize = (int32_t)take_short(at, end);
  for (int d = 0; d < grid->ndim; d++) {
    grid->shape[d] = grid->chunk[d] = take_short(at, end);
    grid->block[d] = take_short(at, end);
  }
  return is_small_grid(grid);
}

typedef struct {
  uint8_t *items;
  int64_t span;
  int error;
} decoded;

enum { FILL = 0xA5, OTHER_FILL = 0x5A };

static decoded decode(const cat_grid *grid, const cat_piece *pieces, int64_t npieces,
                      const cat_box *box, const layout *to, int nthreads, int fill) {
  decoded result = {.items = allocate(to->span), .span = to->span};
  memset(result.items, fill, (size_t)to->span);
  cat_part part = part_of(pieces, npieces, box, result.items, to);
  cat_where where;
  result.error = cat_decode(grid, &part, 1, nthreads, &where);
  CHECK(result.error <= 0, "%d", result.error);
  CHECK(where.block >= -1 && where.block < count_chunk_blocks(grid), "block %lld",
        (long long)where.block);
  return result;
}

static void check_same(const decoded *again, const decoded *expected, const layout *to) {
  CHECK(again->error == expected->error, "%d and %d", again->error, expected->error);
  if (!again->error) {
    layout dense = dense_layout(to->ndim, to->itemsize, to->count);
    uint8_t *items = allocate(dense.span), *others = allocate(dense.span);
    copy_box(items, &dense, expected->items, to, NULL);
    copy_box(others, &dense, again->items, to, NULL);
    CHECK(count_items(to->ndim, to->count) == 0 || memcmp(items, others, (size_t)dense.span) == 0,
          "threads, other chunks, or what was there before, make a difference");
    free(items);
    free(others);
  }
}

/* Decode into memory that holds something else: every item must be written. */
static void decode_again(const cat_grid *grid, const cat_piece *piece, const cat_box *box,
                         const layout *to, const decoded *expected) {
  decoded again = decode(grid, piece, 1, box, to, 3, OTHER_FILL);
  check_same(&again, expected, to);
  free(again.items);
}

static cat_compression random_compression(generator *g) {
  static const uint8_t codecs[] = {BLOSC_BLOSCLZ, BLOSC_LZ4, BLOSC_ZLIB, BLOSC_ZSTD};
  cat_compression compression = {.codec = codecs[between(g, 0, 3)], .clevel = 1,
                                 .splitmode = BLOSC_FORWARD_COMPAT_SPLIT};
  compression.filters[BLOSC2_MAX_FILTERS - 1] = (uint8_t)between(g, 0, 2);
  return compression;
}

/* Decode behind a chunk of ours, with what the thread has left of it. */
static void decode_behind(generator *g, const cat_grid *grid, const cat_piece *piece,
                          const cat_box *box, const layout *to, const decoded *expected) {
  cat_compression compression = random_compression(g);
  layout dense = dense_layout(grid->ndim, grid->itemsize, grid->chunk);
  int64_t bound = cat_encode_bound(grid);
  uint8_t *items = allocate(dense.span), *ours = allocate(bound);
  fill_random(g, items, dense.span, grid->itemsize);
  cat_where where;
  int64_t size = cat_encode(grid, &compression, items, dense.strides, grid->chunk, ours, bound, 1,
                            &where);
  cat_piece first = {0, size, ours};
  cat_box every = whole_box(grid->ndim, grid->chunk);
  decoded again = {.items = allocate(to->span), .span = to->span};
  memset(again.items, OTHER_FILL, (size_t)to->span);
  cat_part parts[] = {part_of(&first, 1, &every, items, &dense),
                      part_of(piece, 1, box, again.items, to)};
  if (size > 0) {
    again.error = cat_decode(grid, parts, 2, 1, &where);
    CHECK(where.chunk == (again.error ? 1 : -1), "part %lld", (long long)where.chunk);
    check_same(&again, expected, to);
  }
  free(again.items);
  free(items);
  free(ours);
}

/* Decode from no bytes but those that the plan asks for, in memory of their own. */
static void decode_planned(const cat_grid *grid, const uint8_t *chunk, int64_t size,
                           const cat_box *box, const layout *to, int64_t gap,
                           const decoded *expected) {
  int64_t capacity = count_chunk_blocks(grid), need = 0, n = 0, known = size < 32 ? size : 32;
  int64_t *ranges = allocate(capacity * 2 * (int64_t)sizeof *ranges);
  uint8_t *head = copy_bytes(chunk, known);
  cat_where where;
  for (int i = 0; i < 4; i++) { /* header, offsets, dictionary */
    n = cat_plan(grid, head, known, box, 1, gap, &need, ranges, capacity, &where);
    CHECK(n <= capacity, "%lld ranges", (long long)n);
    if (n < 0 || need <= known || need > size) {
      break;
    }
    free(head);
    known = need;
    head = copy_bytes(chunk, known);
  }
  CHECK(n < 0 || need <= known || need > size, "%lld of %lld bytes", (long long)known,
        (long long)need);
  int64_t npieces = 1, stop = 0;
  cat_piece *pieces = allocate((capacity + 1) * (int64_t)sizeof *pieces);
  pieces[0] = (cat_piece){0, known, head};
  int there = n >= 0 && need <= known;
  for (int64_t i = 0; there && i < n; i++) {
    int64_t start = ranges[2 * i];
    CHECK(start >= stop && start < ranges[2 * i + 1], "range %lld", (long long)i);
    stop = ranges[2 * i + 1];
    there = stop <= size;
    if (there) {
      pieces[npieces++] = (cat_piece){start, stop - start, copy_bytes(chunk + start, stop - start)};
    }
  }
  if (there) {
    decoded found = decode(grid, pieces, npieces, box, to, 1, FILL);
    if (!found.error && !expected->error) {
      CHECK(memcmp(found.items, expected->items, (size_t)found.span) == 0, "%lld pieces",
            (long long)npieces);
    }
    free(found.items);
  }
  for (int64_t i = 0; i < npieces; i++) {
    free((void *)(uintptr_t)pieces[i].data);
  }
  free(pieces);
  free(ranges);
}

static void change(generator *g, const cat_grid *grid, const uint8_t *chunk, int64_t size,
                   const cat_box *box, const decoded *items, const layout *from) {
  cat_compression compression = random_compression(g);
  int64_t bound = cat_encode_bound(grid);
  uint8_t *changed = allocate(bound);
  cat_where where;
  int64_t made = cat_update(grid, &compression, chunk, size, box, items->items + from->first,
                            from->strides, changed, bound, one_in(g, 8) ? 3 : 1, &where);
  CHECK(made <= bound, "%lld bytes", (long long)made);
  if (made > 0) {
    cat_piece piece = {0, made, changed};
    decoded again = decode(grid, &piece, 1, box, from, 1, FILL);
    CHECK(again.error || memcmp(again.items, items->items, (size_t)again.span) == 0,
          "what was written is not what is read");
    free(again.items);
  }
  free(changed);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  blosc2_init();
  cat_set_nthreads(3);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const uint8_t *at = data, *end = data + size;
  cat_grid grid = {0};
  if (!take_grid(&at, end, &grid)) {
    return -1;
  }
  generator g = choices_of(data, size);
  int64_t length = end - at;
  uint8_t *chunk = copy_bytes(at, length);
  cat_box box = one_in(&g, 2) ? whole_box(grid.ndim, grid.chunk)
                              : random_box(&g, grid.ndim, grid.chunk);
  layout to = random_layout(&g, grid.ndim, grid.itemsize, box.count, 0);
  if (to.span <= 16 * MOST_BYTES) {
    cat_piece piece = {0, length, chunk};
    decoded found = decode(&grid, &piece, 1, &box, &to, 1, FILL);
    if (one_in(&g, 8)) {
      decode_again(&grid, &piece, &box, &to, &found);
      decode_behind(&g, &grid, &piece, &box, &to, &found);
    }
    decode_planned(&grid, chunk, length, &box, &to, one_in(&g, 2) ? 0 : 64, &found);
    change(&g, &grid, chunk, length, &box, &found, &to);
    free(found.items);
  }
  free(chunk);
  return 0;
}
