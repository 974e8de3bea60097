/* What is encoded decodes to what it was, from pieces too, and with any number of threads. */
#include "tests.h"

#include <blosc2/codecs-registry.h>

static int32_t load(const uint8_t *from) {
  int32_t value;
  memcpy(&value, from, sizeof value);
  return value;
}

static void store(uint8_t *to, int32_t value) { memcpy(to, &value, sizeof value); }

static int refers_to_first_block(const uint8_t *chunk) {
  return memchr(chunk + BLOSC2_CHUNK_FILTER_CODES, BLOSC_DELTA, BLOSC2_MAX_FILTERS) != NULL;
}

/* Where the first block may begin: the checksums are behind. */
static int64_t find_body(const bytes *chunk, int64_t nblocks) {
  int64_t body = BLOSC_EXTENDED_HEADER_LENGTH + 4 * nblocks;
  if (chunk->data[BLOSC2_CHUNK_BLOSC2_FLAGS] & BLOSC2_USEDICT) {
    body += 4 + load(chunk->data + body);
  }
  return body;
}

static int64_t find_end(const bytes *chunk, int64_t nblocks, int64_t start) {
  int64_t end = chunk->size;
  for (int64_t b = 0; b < nblocks; b++) {
    int64_t other = load(chunk->data + BLOSC_EXTENDED_HEADER_LENGTH + 4 * b);
    end = other > start && other < end ? other : end;
  }
  return end;
}

void reorder_blocks(generator *g, bytes *chunk, int64_t nblocks) {
  if (is_special(chunk->data) || is_plain(chunk->data) || refers_to_first_block(chunk->data)) {
    return;
  }
  int64_t body = find_body(chunk, nblocks), at = body;
  int64_t *order = allocate(nblocks * (int64_t)sizeof *order);
  for (int64_t b = 0; b < nblocks; b++) {
    int64_t other = between(g, 0, b);
    order[b] = order[other];
    order[other] = b;
  }
  uint8_t *made = copy_bytes(chunk->data, chunk->size);
  for (int64_t i = 0; i < nblocks; i++) {
    const uint8_t *offset = chunk->data + BLOSC_EXTENDED_HEADER_LENGTH + 4 * order[i];
    int64_t start = load(offset), end = find_end(chunk, nblocks, start);
    store(made + (offset - chunk->data), (int32_t)at);
    memcpy(made + at, chunk->data + start, (size_t)(end - start));
    at += end - start;
  }
  CHECK(at == chunk->size, "%lld of %lld bytes in blocks", (long long)at, (long long)chunk->size);
  free(order);
  free(chunk->data);
  chunk->data = made;
  count_event(CHUNK_REORDERED);
}

/* Mark the blocks in which a box has items. */
static void mark_blocks(const cat_grid *grid, const cat_box *box, uint8_t *wanted) {
  int64_t k[CAT_MAX_DIM] = {0};
  if (count_items(grid->ndim, box->count) == 0) {
    return;
  }
  do {
    int64_t number = 0;
    for (int d = 0; d < grid->ndim; d++) {
      int64_t at = box->start[d] + (k[d] ? k[d] * box->step[d] : 0);
      number = number * ((grid->chunk[d] + grid->block[d] - 1) / grid->block[d]) +
               at / grid->block[d];
    }
    wanted[number] = 1;
  } while (advance(k, box->count, grid->ndim));
}

static int compare_pieces(const void *a, const void *b) {
  int64_t x = ((const cat_piece *)a)->start, y = ((const cat_piece *)b)->start;
  return (x > y) - (x < y);
}

/* Take from a chunk only what a box needs, neighbours in one piece or in several; where `missing`,
 * leave out a block that is needed. Returns the number of pieces. */
static int64_t cut_pieces(generator *g, const sample *s, const bytes *chunk, const cat_box *box,
                          int64_t missing, cat_piece *pieces) {
  int64_t nblocks = count_chunk_blocks(&s->grid), n = 1;
  int64_t blocksize = count_chunk_bytes(&s->grid) / nblocks;
  int plain = is_plain(chunk->data);
  uint8_t *wanted = allocate(nblocks);
  memset(wanted, 0, (size_t)nblocks);
  mark_blocks(&s->grid, box, wanted);
  int64_t checksums = s->grid.checksums ? 8 + 4 * nblocks : 0;
  pieces[0] = (cat_piece){
      0, plain ? BLOSC_EXTENDED_HEADER_LENGTH : find_body(chunk, nblocks) + checksums, NULL};
  for (int64_t b = 0; b < nblocks; b++) {
    if (wanted[b] && b != missing) {
      int64_t start = plain ? BLOSC_EXTENDED_HEADER_LENGTH + b * blocksize
                            : load(chunk->data + BLOSC_EXTENDED_HEADER_LENGTH + 4 * b);
      int64_t end = plain ? start + blocksize : find_end(chunk, nblocks, start);
      pieces[n++] = (cat_piece){start, end - start, NULL};
    }
  }
  free(wanted);
  qsort(pieces, (size_t)n, sizeof *pieces, compare_pieces);
  int64_t last = 0;
  for (int64_t i = 1; i < n; i++) {
    if (pieces[last].start + pieces[last].size == pieces[i].start && one_in(g, 2)) {
      pieces[last].size += pieces[i].size;
    } else {
      pieces[++last] = pieces[i];
    }
  }
  for (int64_t i = 0; i <= last; i++) {
    pieces[i].data = copy_bytes(chunk->data + pieces[i].start, pieces[i].size);
  }
  return last + 1;
}

static void free_pieces(cat_piece *pieces, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    free((void *)pieces[i].data);
  }
  free(pieces);
}

static void check_pieces(generator *g, const sample *s, const bytes *chunk, const cat_box *box,
                         const uint8_t *items) {
  int64_t nblocks = count_chunk_blocks(&s->grid);
  cat_piece *pieces = allocate((nblocks + 1) * (int64_t)sizeof *pieces);
  int64_t n = cut_pieces(g, s, chunk, box, -1, pieces);
  check_decoding(g, s, pieces, n, box, items, one_in(g, 2) ? 1 : 4);
  free_pieces(pieces, n);
  count_event(DECODED_FROM_PIECES);
  if (count_items(s->grid.ndim, box->count) == 0) {
    return;
  }
  uint8_t *wanted = allocate(nblocks);
  memset(wanted, 0, (size_t)nblocks);
  mark_blocks(&s->grid, box, wanted);
  int64_t missing = between(g, 0, nblocks - 1);
  while (!wanted[missing]) {
    missing = (missing + 1) % nblocks;
  }
  free(wanted);
  pieces = allocate((nblocks + 1) * (int64_t)sizeof *pieces);
  n = cut_pieces(g, s, chunk, box, missing, pieces);
  memory to = dense_memory(s->grid.ndim, s->grid.itemsize, box->count);
  cat_part part = part_of(pieces, n, box, allocate(to.span), &to);
  cat_where where;
  int error = cat_decode(&s->grid, &part, 1, one_in(g, 2) ? 1 : 4, &where);
  CHECK(error == CAT_ERROR_MISSING && where.chunk == 0 && where.block == missing,
        "error %d, block %lld instead of %lld", error, (long long)where.block, (long long)missing);
  free(part.dest);
  free_pieces(pieces, n);
  count_event(PIECE_MISSED);
}

/* C-Blosc2 itself decodes a chunk to its blocks, one behind the other. */
static void check_against_c_blosc2(const sample *s, const bytes *chunk, const uint8_t *items) {
  const cat_grid *grid = &s->grid;
  int64_t size = count_chunk_bytes(grid), nblocks[CAT_MAX_DIM] = {0}, block[CAT_MAX_DIM] = {0};
  uint8_t *found = allocate(size), *expected = allocate(size), *at = expected;
  blosc2_dparams dparams = BLOSC2_DPARAMS_DEFAULTS;
  dparams.nthreads = 1;
  blosc2_context *context = blosc2_create_dctx(dparams);
  int decoded = blosc2_decompress_ctx(context, chunk->data, (int32_t)chunk->size, found,
                                      (int32_t)size);
  blosc2_free_ctx(context);
  CHECK(decoded == size, "C-Blosc2 returns %d for %lld bytes", decoded, (long long)size);
  memset(expected, 0, (size_t)size);
  memory from = dense_memory(grid->ndim, grid->itemsize, grid->chunk);
  memory to = dense_memory(grid->ndim, grid->itemsize, grid->block);
  for (int d = 0; d < grid->ndim; d++) {
    nblocks[d] = (grid->chunk[d] + grid->block[d] - 1) / grid->block[d];
  }
  do {
    cat_box box = {0};
    for (int d = 0; d < grid->ndim; d++) {
      int64_t left = grid->chunk[d] - block[d] * grid->block[d];
      box.start[d] = block[d] * grid->block[d];
      box.count[d] = left < grid->block[d] ? left : grid->block[d];
      box.step[d] = 1;
    }
    copy_box(at, &to, items, &from, &box);
    at += to.span;
  } while (advance(block, nblocks, grid->ndim));
  CHECK(memcmp(found, expected, (size_t)size) == 0, "codec %d", s->compression.codec);
  free(found);
  free(expected);
}

/* Encode with other numbers of threads: the bytes must be the same. */
static void check_threads(const sample *s, const uint8_t *src, const memory *from,
                          const bytes *chunk) {
  static const int numbers[] = {4, 0};
  for (int i = 0; i < 2; i++) {
    bytes other = encode(s, src, from, numbers[i]);
    CHECK(other.size == chunk->size, "%lld and %lld bytes", (long long)other.size,
          (long long)chunk->size);
    CHECK(other.size < 0 || memcmp(other.data, chunk->data, (size_t)chunk->size) == 0,
          "%d threads, codec %d", numbers[i], s->compression.codec);
    free(other.data);
  }
}

void test_round_trip(generator *g) {
  int large = one_in(g, 10);
  sample s = random_sample(g, large ? 2 << 20 : one_in(g, 3) ? 1 << 16 : 1 << 12);
  const cat_grid *grid = &s.grid;
  int64_t extent[CAT_MAX_DIM], nblocks = count_chunk_blocks(grid);
  for (int d = 0; d < grid->ndim; d++) {
    extent[d] = one_in(g, 3) ? between(g, one_in(g, 9) ? 0 : 1, grid->chunk[d]) : grid->chunk[d];
  }
  memory from = random_memory(g, grid->ndim, grid->itemsize, extent, 1);
  uint8_t *src = allocate(from.span);
  fill_random(g, src, from.span, grid->itemsize);
  uint8_t *before = copy_bytes(src, from.span);

  bytes chunk = encode(&s, src, &from, 1);
  check_threads(&s, src, &from, &chunk);
  CHECK(memcmp(src, before, (size_t)from.span) == 0, "the source changed");
  if (chunk.size < 0) {
    /* Plugins have limits of their own; what is part of C-Blosc2 takes everything. */
    int plugin = s.compression.codec >= BLOSC_LAST_CODEC;
    for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
      plugin |= s.compression.filters[i] >= BLOSC_TRUNC_PREC;
    }
    CHECK(plugin, "error %lld", (long long)chunk.size);
    count_event(NOT_ENCODED);
    free(before);
    free(src);
    return;
  }
  if (count_chunk_bytes(grid) > 1 << 20) {
    count_event(CHUNK_OF_SEVERAL_TASKS);
  }

  memory dense = dense_memory(grid->ndim, grid->itemsize, grid->chunk);
  uint8_t *items = allocate(dense.span);
  cat_piece whole = {0, chunk.size, chunk.data};
  if (s.lossy) {
    cat_box every = whole_box(grid->ndim, grid->chunk);
    cat_part part = part_of(&whole, 1, &every, items, &dense);
    cat_where where;
    int error = cat_decode(grid, &part, 1, 1, &where);
    CHECK(error == 0, "error %d in block %lld", error, (long long)where.block);
  } else {
    memset(items, 0, (size_t)dense.span);
    copy_box(items, &dense, src, &from, NULL);
    int plugin = s.compression.codec >= BLOSC_LAST_CODEC;
    for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
      plugin |= s.compression.filters[i] >= BLOSC_LAST_FILTER;
    }
    /* It fails on zeros in less than BLOSC_MIN_BUFFERSIZE bytes. */
    if (!plugin && (count_chunk_bytes(grid) >= BLOSC_MIN_BUFFERSIZE || !is_special(chunk.data))) {
      check_against_c_blosc2(&s, &chunk, items);
    }
  }
  int alone = !is_special(chunk.data) && !refers_to_first_block(chunk.data);
  if (!grid->checksums && one_in(g, 3)) {
    reorder_blocks(g, &chunk, nblocks);
    whole.data = chunk.data;
  }
  for (int i = 0; i < 4; i++) {
    static const int numbers[] = {1, 4, 0, 2};
    cat_box box = random_box(g, grid->ndim, grid->chunk);
    check_decoding(g, &s, &whole, 1, &box, items, numbers[i]);
    check_decoding_from_file(g, &s, &chunk, &box, items, numbers[i]);
    if (is_plain(chunk.data) || alone) {
      check_pieces(g, &s, &chunk, &box, items);
    }
  }
  free(items);
  free(chunk.data);
  free(before);
  free(src);
}

/* Several damaged blocks: the error is that of the first, whatever the number of threads. */
void test_threads_agree_on_errors(generator *g) {
  sample s = {.compression = {.codec = BLOSC_LZ4, .clevel = 1, .splitmode = BLOSC_NEVER_SPLIT}};
  s.grid = (cat_grid){.ndim = 2, .itemsize = 4};
  for (int d = 0; d < 2; d++) {
    s.grid.shape[d] = s.grid.chunk[d] = 1024;
    s.grid.block[d] = 64;
  }
  int64_t nblocks = count_chunk_blocks(&s.grid), first = nblocks;
  memory dense = dense_memory(2, 4, s.grid.chunk);
  uint8_t *items = allocate(dense.span);
  for (int64_t i = 0; i < dense.span; i++) {
    items[i] = i % 4 == 0 ? (uint8_t)(i / 64) : 0;
  }
  bytes chunk = encode(&s, items, &dense, 1);
  CHECK(chunk.size > 0, "error %lld", (long long)chunk.size);
  for (int i = 0; i < 6; i++) {
    int64_t block = between(g, 0, nblocks - 1);
    first = block < first ? block : first;
    store(chunk.data + BLOSC_EXTENDED_HEADER_LENGTH + 4 * block, (int32_t)chunk.size);
  }
  cat_piece piece = {0, chunk.size, chunk.data};
  cat_box every = whole_box(s.grid.ndim, s.grid.chunk);
  cat_part part = part_of(&piece, 1, &every, items, &dense);
  for (int nthreads = 1; nthreads <= 4; nthreads++) {
    cat_where where;
    int error = cat_decode(&s.grid, &part, 1, nthreads, &where);
    CHECK(error == CAT_ERROR_OFFSET && where.chunk == 0 && where.block == first,
          "error %d with %d threads, in block %lld instead of %lld", error, nthreads,
          (long long)where.block, (long long)first);
  }
  free(chunk.data);
  free(items);
}
