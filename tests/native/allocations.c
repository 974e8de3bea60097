/* test_allocations SEED ROUNDS [FIRST]: let the first allocation of each call fail, then the second...
 *
 * A call then says so, or returns what it returns when nothing fails; it does not crash, and leaves
 * nothing allocated. What fails is all by which the kernel itself gets memory, since C-Blosc2 and the
 * codecs do not always look whether they got theirs. */
#include "tests.h"

#include <stdatomic.h>

#include <b2nd.h>
#include <zstd.h>

static atomic_llong left; /* allocations up to the one that fails; at 0 none does */
static atomic_llong failed;

static int fails(void) {
  if (atomic_load(&left) <= 0 || atomic_fetch_sub(&left, 1) != 1) {
    return 0;
  }
  atomic_fetch_add(&failed, 1);
  return 1;
}

/* CMakeLists.txt lets the kernel call these in place of what they are named after. */
void *failing_malloc(size_t size);
void *failing_calloc(size_t n, size_t size);
void *failing_realloc(void *memory, size_t size);
ZSTD_DCtx *failing_ZSTD_createDCtx(void);
blosc2_context *failing_blosc2_create_cctx(blosc2_cparams cparams);
blosc2_context *failing_blosc2_create_dctx(blosc2_dparams dparams);
int failing_b2nd_serialize_meta(int8_t ndim, const int64_t *shape, const int32_t *chunk,
                                const int32_t *block, const char *dtype, int8_t dtype_format,
                                uint8_t **content);

void *failing_malloc(size_t size) { return fails() ? NULL : malloc(size); }
void *failing_calloc(size_t n, size_t size) { return fails() ? NULL : calloc(n, size); }
void *failing_realloc(void *memory, size_t size) { return fails() ? NULL : realloc(memory, size); }
ZSTD_DCtx *failing_ZSTD_createDCtx(void) { return fails() ? NULL : ZSTD_createDCtx(); }
blosc2_context *failing_blosc2_create_cctx(blosc2_cparams cparams) {
  return fails() ? NULL : blosc2_create_cctx(cparams);
}
blosc2_context *failing_blosc2_create_dctx(blosc2_dparams dparams) {
  return fails() ? NULL : blosc2_create_dctx(dparams);
}
int failing_b2nd_serialize_meta(int8_t ndim, const int64_t *shape, const int32_t *chunk,
                                const int32_t *block, const char *dtype, int8_t dtype_format,
                                uint8_t **content) {
  return fails() ? BLOSC2_ERROR_MEMORY_ALLOC
                 : b2nd_serialize_meta(ndim, shape, chunk, block, dtype, dtype_format, content);
}

/* --- calls -------------------------------------------------------------------------------------- */

/* What all calls work on, and what they write. */
typedef struct {
  sample s;
  cat_box box;
  memory dense, part; /* of the chunk's items, of the box's */
  uint8_t *items, *src;
  bytes chunk;
  test_file file;
  cat_place place; /* of the chunk, in the file */
  blosc2_schunk *schunk;
  int nthreads;
  uint8_t *dest;
  int64_t size;
} subject;

static int64_t call_encode(subject *x) {
  cat_where where;
  return cat_encode(&x->s.grid, &x->s.compression, x->items, x->dense.strides, x->s.grid.chunk, x->dest,
                    x->size, x->nthreads, &where);
}

/* Two chunks, of which the second is compressed with what the first left. */
static int64_t call_encode_many(subject *x) {
  cat_where where;
  cat_source source = {.src = x->items, .dest = x->dest, .destsize = x->size};
  memcpy(source.strides, x->dense.strides, sizeof source.strides);
  memcpy(source.extent, x->s.grid.chunk, sizeof source.extent);
  cat_source sources[] = {source, source};
  sources[1].dest = allocate(x->size);
  int64_t result = cat_encode_many(&x->s.grid, &x->s.compression, sources, 2, 1, &where);
  CHECK(result || memcmp(x->dest, sources[1].dest, (size_t)sources[1].cbytes) == 0, "not the same");
  free(sources[1].dest);
  return result;
}

static int64_t decode_pieces(subject *x, const cat_piece *pieces, int64_t n) {
  cat_where where;
  cat_part part = part_of(pieces, n, &x->box, x->dest, &x->part);
  return cat_decode(&x->s.grid, &part, 1, x->nthreads, &where);
}

static int64_t call_decode(subject *x) {
  cat_piece whole = {0, x->chunk.size, x->chunk.data};
  return decode_pieces(x, &whole, 1);
}

/* As many bytes in front as there are, the last one in a piece of its own. */
static int64_t call_decode_pieces(subject *x) {
  int64_t size = x->chunk.size - 1;
  cat_piece pieces[] = {{0, size, x->chunk.data}, {size, 1, x->chunk.data + size}};
  int64_t result = decode_pieces(x, pieces, 2);
  return result == CAT_ERROR_MISSING ? 0 : result;
}

static int64_t call_decode_file(subject *x) {
  cat_where where;
  cat_part part = part_of(NULL, 0, &x->box, x->dest, &x->part);
  part.place = &x->place;
  int before = count_descriptors();
  int64_t result = cat_decode(&x->s.grid, &part, 1, x->nthreads, &where);
  CHECK(count_descriptors() == before, "a file stays open");
  return result;
}

/* Two boxes that are the same, so that all blocks are shared. */
static int64_t call_decode_shared(subject *x) {
  cat_where where;
  cat_piece whole = {0, x->chunk.size, x->chunk.data};
  cat_part part = part_of(&whole, 1, &x->box, x->dest, &x->part), parts[] = {part, part};
  return cat_decode_shared(&x->s.grid, parts, 2, 1, &where);
}

static int64_t call_plan(subject *x) {
  cat_where where;
  int64_t need, *ranges = (int64_t *)(void *)x->dest, capacity = x->size / 16;
  return cat_plan(&x->s.grid, x->chunk.data, x->chunk.size, &x->box, 1, 0, &need, ranges, capacity,
                  &where);
}

static int64_t call_update(subject *x) {
  cat_where where;
  return cat_update(&x->s.grid, &x->s.compression, x->chunk.data, x->chunk.size, &x->box, x->src,
                    x->part.strides, x->dest, x->size, x->nthreads, &where);
}

static int64_t call_update_in_place(subject *x) {
  cat_where where;
  memcpy(x->dest, x->chunk.data, (size_t)x->chunk.size);
  return cat_update_in_place(&x->s.grid, &x->s.compression, x->dest, x->chunk.size, &x->box, x->src,
                             x->part.strides, x->nthreads, &where);
}

static int64_t call_plan_update(subject *x) {
  cat_where where;
  int64_t n, bound = cat_update_bound(&x->s.grid, &x->box, &n), before = count_descriptors();
  CHECK(bound > 0 && bound <= x->size, "%lld bytes", (long long)bound);
  cat_span *spans = allocate(n * (int64_t)sizeof *spans);
  int64_t result = cat_plan_update(&x->s.grid, &x->s.compression, &x->place, &x->box, x->src,
                                   x->part.strides, x->dest, bound, spans, &n, x->nthreads, &where);
  free(spans);
  CHECK(count_descriptors() == before, "a file stays open");
  return result;
}

static int64_t call_read(subject *x) {
  cat_where where;
  return cat_read(&x->s.grid, x->schunk, &x->box, x->dest, x->part.strides, x->nthreads, &where);
}

static const struct {
  const char *name;
  int64_t (*run)(subject *x);
} calls[] = {
    {"encode", call_encode}, {"decode", call_decode}, {"decode pieces", call_decode_pieces},
    {"plan", call_plan},     {"update", call_update}, {"update in place", call_update_in_place},
    {"read", call_read},     {"decode a file", call_decode_file},
    {"decode shared", call_decode_shared},
    {"plan an update", call_plan_update},
    {"encode many", call_encode_many},
};
enum { CALLS = sizeof calls / sizeof *calls };

/* --- rounds ------------------------------------------------------------------------------------- */

/* Returns how often the call met a failure. */
static int64_t run_call(subject *x, int64_t (*run)(subject *x)) {
  uint8_t *expected = allocate(x->size);
  memset(expected, 0, (size_t)x->size);
  memset(x->dest, 0, (size_t)x->size);
  int64_t usual = run(x), met = 0;
  memcpy(expected, x->dest, (size_t)x->size);
  for (int64_t n = 1;; n++) {
    memset(x->dest, 0, (size_t)x->size);
    atomic_store(&failed, 0);
    atomic_store(&left, n);
    int64_t result = run(x);
    atomic_store(&left, 0);
    /* C-Blosc2 does not say why it has no context. */
    CHECK(result == usual || result == CAT_ERROR_MEMORY || result == CAT_ERROR_CODEC,
          "%lld instead of %lld", (long long)result, (long long)usual);
    CHECK(result != usual || memcmp(x->dest, expected, (size_t)x->size) == 0, "allocation %lld",
          (long long)n);
    if (atomic_load(&failed) == 0) {
      CHECK(result == usual, "%lld without a failure", (long long)result);
      free(expected);
      return met;
    }
    met++;
  }
}

static void run_round(generator *g, int64_t *met) {
  subject x = {.s = random_sample(g, one_in(g, 4) ? 1 << 20 : 1 << 13), .nthreads = one_in(g, 3) ? 3 : 1};
  cat_grid *grid = &x.s.grid;
  memcpy(grid->shape, grid->chunk, sizeof grid->shape);
  x.dense = dense_memory(grid->ndim, grid->itemsize, grid->chunk);
  x.items = allocate(x.dense.span);
  fill_random(g, x.items, x.dense.span, grid->itemsize);
  do {
    x.box = random_box(g, grid->ndim, grid->chunk);
  } while (count_items(grid->ndim, x.box.count) == 0);
  x.part = dense_memory(grid->ndim, grid->itemsize, x.box.count);
  x.src = allocate(x.part.span);
  fill_random(g, x.src, x.part.span, grid->itemsize);
  x.chunk = encode(&x.s, x.items, &x.dense, 1);
  int64_t nspans, bound = cat_update_bound(grid, &x.box, &nspans);
  x.size = cat_encode_bound(grid) + 64;
  x.size = bound > x.size ? bound : x.size;
  x.dest = allocate(x.size);
  blosc2_cparams cparams = BLOSC2_CPARAMS_DEFAULTS;
  cparams.typesize = grid->itemsize;
  cparams.nthreads = 1;
  blosc2_storage storage = {.cparams = &cparams, .contiguous = one_in(g, 2)};
  x.schunk = blosc2_schunk_new(&storage);
  CHECK(x.schunk != NULL, "no super-chunk");
  x.file = new_file();
  if (x.chunk.size > 0) {
    x.place = place_chunk(g, &x.file, 7, &x.chunk);
    CHECK(blosc2_schunk_append_chunk(x.schunk, x.chunk.data, true) == 1, "not appended");
  }
  for (int i = 0; i < (x.chunk.size > 0 ? CALLS : 1); i++) {
    met[i] += run_call(&x, calls[i].run);
  }
  remove_file(&x.file);
  blosc2_schunk_free(x.schunk);
  free(x.chunk.data);
  free(x.dest);
  free(x.src);
  free(x.items);
}

int main(int argc, char **argv) {
  if (argc < 3 || argc > 4) {
    fputs("usage: test_allocations SEED ROUNDS [FIRST]\n", stderr);
    return 2;
  }
  uint64_t seed = strtoull(argv[1], NULL, 10);
  int64_t rounds = strtoll(argv[2], NULL, 10), first = argc > 3 ? strtoll(argv[3], NULL, 10) : 0;
  int64_t met[CALLS] = {0};
  blosc2_init();
  for (int64_t round = first; round < first + rounds; round++) {
    generator g = {seed};
    g.state = next_random(&g) ^ (uint64_t)round;
    begin_case("test_allocations", seed, round);
    run_round(&g, met);
  }
  blosc2_destroy();
  for (int i = 0; i < CALLS; i++) {
    printf("%s: %lld\n", calls[i].name, (long long)met[i]);
  }
  return 0;
}
