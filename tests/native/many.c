/* Many chunks in one call. A thread does one after the other with the same memory and the same context of
 * C-Blosc2; what it decodes may be compressed in different ways. */
#include "tests.h"

#include <errno.h>

enum { CHUNKS = 6, PARTS = 24 };

typedef struct {
  bytes chunk;
  cat_piece piece;
  uint8_t *items; /* dense: what the chunk decodes to in a call of its own */
} stored_chunk;

/* Compress a chunk in a random way. Returns 0 where that cannot be. */
static int make_chunk(generator *g, const cat_grid *grid, stored_chunk *made) {
  sample s = random_sample(g, 1 << 8);
  s.grid = *grid;
  remember_sample(&s);
  memory dense = dense_memory(grid->ndim, grid->itemsize, grid->chunk);
  made->items = allocate(dense.span);
  fill_random(g, made->items, dense.span, grid->itemsize);
  made->chunk = encode(&s, made->items, &dense, 1);
  made->piece = (cat_piece){0, made->chunk.size, made->chunk.data};
  cat_box every = whole_box(grid->ndim, grid->chunk);
  cat_part part = part_of(&made->piece, 1, &every, made->items, &dense);
  cat_where where;
  if (made->chunk.size > 0 && cat_decode(grid, &part, 1, 1, &where) == 0) {
    return 1;
  }
  free(made->chunk.data);
  free(made->items);
  return 0;
}

/* Destroy the items that were found, and leave the bytes between them. */
static void forget(uint8_t *found, const uint8_t *expected, const memory *to) {
  for (int64_t i = 0; i < to->span; i++) {
    found[i] = expected[i] == 0xA5 ? 0xA5 : (uint8_t)~expected[i];
  }
}

typedef int (*decode)(const cat_grid *, const cat_part *, int64_t, int, cat_where *);

static const decode WAYS[] = {cat_decode, cat_decode_shared};

static void check_parts(const cat_grid *grid, const cat_part *parts, const memory *to,
                        uint8_t *const *found, uint8_t *const *expected, int nthreads) {
  for (int way = 0; way < 2; way++) {
    cat_where where;
    int error = WAYS[way](grid, parts, PARTS, nthreads, &where);
    CHECK(error == 0, "error %d in part %lld, block %lld", error, (long long)where.chunk,
          (long long)where.block);
    for (int i = 0; i < PARTS; i++) {
      CHECK(memcmp(found[i], expected[i], (size_t)to[i].span) == 0, "part %d, %d threads, way %d",
            i, nthreads, way);
      forget(found[i], expected[i], &to[i]);
    }
    count_event(DECODED_TOGETHER);
  }
}

/* The end of a chunk is not to be read, though those in front may be of the same chunk; or no file is
 * there. */
static void fail_in_file(generator *g, const cat_grid *grid, cat_part *parts, int nthreads) {
  int64_t first = between(g, 0, PARTS - 1);
  cat_place place = {"/dev/null/none", -1, 0, 100, 0};
  int expected = CAT_ERROR_FILE;
  if (parts[first].place != NULL && one_in(g, 2)) {
    place = *parts[first].place;
    place.stop = place.start + BLOSC_EXTENDED_HEADER_LENGTH - 1;
    expected = CAT_ERROR_TRUNCATED;
  }
  parts[first].place = &place;
  parts[first].box = whole_box(grid->ndim, grid->chunk);
  cat_where where;
  int error = WAYS[between(g, 0, 1)](grid, parts, PARTS, nthreads, &where);
  int system = expected == CAT_ERROR_FILE ? ENOTDIR : 0;
  CHECK(error == expected && where.chunk == first && where.system == system,
        "error %d (%d) in part %lld, not %lld", error, where.system, (long long)where.chunk,
        (long long)first);
}

/* Decode the same parts from files: chunks lie in one, or each in its own. */
static void check_files(generator *g, const cat_grid *grid, const stored_chunk *chunks,
                        const int *chosen, const cat_part *parts, const memory *to,
                        uint8_t *const *found, uint8_t *const *expected, int nthreads) {
  test_file files[CHUNKS];
  cat_place places[CHUNKS], copies[PARTS];
  cat_part placed[PARTS];
  int nfiles = one_in(g, 2) ? 1 : CHUNKS;
  int64_t start = between(g, 0, 100);
  for (int i = 0; i < CHUNKS; i++) {
    if (i < nfiles) {
      files[i] = new_file();
    }
    places[i] = place_chunk(g, &files[i % nfiles], start, &chunks[i].chunk);
    start += chunks[i].chunk.size + between(g, 0, 100);
  }
  for (int i = 0; i < PARTS; i++) {
    memset(found[i], 0xA5, (size_t)to[i].span);
    placed[i] = parts[i];
    copies[i] = places[chosen[i]];
    placed[i].place = one_in(g, 4) ? &copies[i] : &places[chosen[i]];
    placed[i].pieces = NULL;
    placed[i].npieces = 0;
    if (one_in(g, 10)) { /* in memory, between others */
      placed[i] = parts[i];
    }
  }
  check_parts(grid, placed, to, found, expected, nthreads);
  fail_in_file(g, grid, placed, nthreads);
  for (int i = 0; i < nfiles; i++) {
    remove_file(&files[i]);
  }
}

/* The first part that fails is named, whichever thread comes first. */
static void check_failure(generator *g, const cat_grid *grid, cat_part *parts, int nthreads) {
  int64_t first = between(g, 0, PARTS - 1);
  for (int64_t i = first; i < PARTS; i += between(g, 1, PARTS)) {
    parts[i].box = whole_box(grid->ndim, grid->chunk);
    parts[i].npieces = 0;
  }
  cat_where where;
  int error = WAYS[between(g, 0, 1)](grid, parts, PARTS, nthreads, &where);
  CHECK(error == CAT_ERROR_TRUNCATED && where.chunk == first, "error %d in part %lld, not %lld",
        error, (long long)where.chunk, (long long)first);
}

void test_many_chunks(generator *g) {
  sample s = random_sample(g, one_in(g, 3) ? 1 << 15 : 1 << 10);
  const cat_grid *grid = &s.grid;
  stored_chunk chunks[CHUNKS];
  cat_part parts[PARTS];
  memory to[PARTS];
  uint8_t *found[PARTS], *expected[PARTS];
  int chosen[PARTS], made = 0, nthreads = (int)between(g, 0, 4);
  while (made < CHUNKS) {
    made += make_chunk(g, grid, &chunks[made]);
  }
  memory from = dense_memory(grid->ndim, grid->itemsize, grid->chunk);
  for (int i = 0; i < PARTS; i++) {
    chosen[i] = i && one_in(g, 2) ? chosen[i - 1] : (int)between(g, 0, CHUNKS - 1);
    const stored_chunk *chunk = &chunks[chosen[i]];
    cat_box box = random_box(g, grid->ndim, grid->chunk);
    to[i] = random_memory(g, grid->ndim, grid->itemsize, box.count, 0);
    found[i] = allocate(to[i].span);
    expected[i] = allocate(to[i].span);
    memset(found[i], 0xA5, (size_t)to[i].span);
    memset(expected[i], 0xA5, (size_t)to[i].span);
    copy_box(expected[i], &to[i], chunk->items, &from, &box);
    parts[i] = part_of(&chunk->piece, 1, &box, found[i], &to[i]);
  }
  check_parts(grid, parts, to, found, expected, nthreads);
  check_files(g, grid, chunks, chosen, parts, to, found, expected, nthreads);
  check_failure(g, grid, parts, nthreads);
  for (int i = 0; i < PARTS; i++) {
    free(found[i]);
    free(expected[i]);
  }
  for (int i = 0; i < CHUNKS; i++) {
    free(chunks[i].chunk.data);
    free(chunks[i].items);
  }
}

/* --- encoding ----------------------------------------------------------------------------------- */

/* Compress chunks together, some of them cut at the array's edge: each becomes what it does alone. */
void test_many_sources(generator *g) {
  sample s = random_sample(g, one_in(g, 10) ? 1 << 20 : 1 << 12);
  cat_source sources[CHUNKS];
  bytes expected[CHUNKS];
  uint8_t *items[CHUNKS];
  int64_t n = between(g, 1, CHUNKS), bound = cat_encode_bound(&s.grid), wrong = -1;
  for (int64_t i = 0; i < n; i++) {
    int64_t extent[CAT_MAX_DIM];
    for (int d = 0; d < s.grid.ndim; d++) {
      extent[d] = one_in(g, 3) ? between(g, 0, s.grid.chunk[d]) : s.grid.chunk[d];
    }
    memory from = random_memory(g, s.grid.ndim, s.grid.itemsize, extent, 1);
    items[i] = allocate(from.span);
    fill_random(g, items[i], from.span, s.grid.itemsize);
    expected[i] = encode(&s, items[i], &from, 1);
    sources[i] = (cat_source){.src = items[i] + from.first, .dest = allocate(bound), .destsize = bound};
    memcpy(sources[i].strides, from.strides, sizeof from.strides);
    memcpy(sources[i].extent, extent, sizeof extent);
    wrong = expected[i].size < 0 && wrong < 0 ? i : wrong;
  }
  cat_where where;
  int nthreads = (int)between(g, 0, 4);
  int error = cat_encode_many(&s.grid, &s.compression, sources, n, nthreads, &where);
  CHECK(error == (wrong < 0 ? 0 : (int)expected[wrong].size), "error %d", error);
  for (int64_t i = 0; i < n && wrong < 0; i++) {
    CHECK(sources[i].cbytes == expected[i].size &&
              memcmp(sources[i].dest, expected[i].data, (size_t)expected[i].size) == 0,
          "chunk %lld, %d threads", (long long)i, nthreads);
    count_event(ENCODED_TOGETHER);
  }
  if (wrong < 0) {
    int64_t least = between(g, 0, n - 1);
    sources[least].destsize = bound - 1;
    error = cat_encode_many(&s.grid, &s.compression, sources, n, nthreads, &where);
    CHECK(error == CAT_ERROR_TRUNCATED && where.chunk == least, "error %d in source %lld", error,
          (long long)where.chunk);
  }
  for (int64_t i = 0; i < n; i++) {
    free(expected[i].data);
    free(sources[i].dest);
    free(items[i]);
  }
}
