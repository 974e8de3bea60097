/* The kernel's hot calls, and C-Blosc2's own work on the same chunk, each counted by callgrind in a
 * part of its own: valgrind --tool=callgrind --instr-atstart=no hot_calls
 * It prints the compiler. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <blosc2.h>
#include <valgrind/callgrind.h>

#include "kernel.h"

#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                \
    }                                                                         \
  } while (0)

/* The first call finds functions in shared libraries, and memory; the second is what is counted. */
#define COUNT(name, call)                 \
  do {                                    \
    CHECK(call);                          \
    CALLGRIND_START_INSTRUMENTATION;      \
    int done = (call);                    \
    CALLGRIND_STOP_INSTRUMENTATION;       \
    CALLGRIND_DUMP_STATS_AT(name);        \
    CHECK(done);                          \
  } while (0)

enum { NDIM = 3, SIZE = sizeof(float) };

/* An array of one chunk, in memory and compressed. */
typedef struct {
  cat_grid grid;
  cat_compression compression;
  int64_t nitems;
  int64_t strides[NDIM];
  float *items;
  uint8_t *chunk;
  int64_t cbytes, bound;
} array;

static void *allocate(int64_t size) {
  void *memory = calloc(1, (size_t)size);
  CHECK(memory != NULL);
  return memory;
}

/* Values that compress to about half, exact in every C library: a smooth field with noise. */
static float value_at(const int64_t *index) {
  int64_t x = index[0], y = index[1], z = index[2];
  uint32_t noise = (uint32_t)(x * 73856093 ^ y * 19349663 ^ z * 83492791) * 2654435761u >> 28;
  return (float)(x * x + 3 * y * y + 40 * z) + (float)noise / 16;
}

static array make_array(int64_t edge, int64_t block, int codec) {
  array a = {.grid = {.ndim = NDIM, .itemsize = SIZE},
             .compression = {.codec = (uint8_t)codec, .clevel = 5,
                             .splitmode = BLOSC_FORWARD_COMPAT_SPLIT,
                             .filters = {[5] = BLOSC_SHUFFLE}},
             .nitems = edge * edge * edge,
             .strides = {edge * edge * SIZE, edge * SIZE, SIZE}};
  for (int d = 0; d < NDIM; d++) {
    a.grid.shape[d] = a.grid.chunk[d] = edge;
    a.grid.block[d] = block;
  }
  a.items = allocate(a.nitems * SIZE);
  float *item = a.items;
  for (int64_t i[NDIM] = {0}; i[0] < edge; i[0]++) {
    for (i[1] = 0; i[1] < edge; i[1]++) {
      for (i[2] = 0; i[2] < edge; i[2]++) {
        *item++ = value_at(i);
      }
    }
  }
  a.bound = cat_encode_bound(&a.grid);
  a.chunk = allocate(a.bound);
  cat_where where;
  a.cbytes = cat_encode(&a.grid, &a.compression, (uint8_t *)a.items, a.strides, a.grid.chunk,
                        a.chunk, a.bound, 1, &where);
  CHECK(a.cbytes > a.nitems * SIZE / 4 && a.cbytes < a.nitems * SIZE * 3 / 4);
  return a;
}

static void free_array(array *a) {
  free(a->items);
  free(a->chunk);
}

/* --- decoding ----------------------------------------------------------------------------------- */

static cat_box make_box(int64_t i, int64_t j, int64_t k, int64_t ni, int64_t nj, int64_t nk) {
  return (cat_box){.start = {i, j, k}, .count = {ni, nj, nk}, .step = {1, 1, 1}};
}

static void check_items(const cat_box *box, const float *items) {
  for (int64_t i = 0; i < box->count[0]; i++) {
    for (int64_t j = 0; j < box->count[1]; j++) {
      for (int64_t k = 0; k < box->count[2]; k++) {
        int64_t index[NDIM] = {box->start[0] + i, box->start[1] + j, box->start[2] + k};
        CHECK(*items++ == value_at(index));
      }
    }
  }
}

static void count_decode(const char *name, const array *a, cat_box box) {
  cat_piece piece = {0, a->cbytes, a->chunk};
  int64_t nj = box.count[1], nk = box.count[2], strides[NDIM] = {nj * nk * SIZE, nk * SIZE, SIZE};
  float *dest = allocate(box.count[0] * strides[0]);
  cat_part part = {.pieces = &piece, .npieces = 1, .box = box, .dest = (uint8_t *)dest};
  memcpy(part.strides, strides, sizeof strides);
  cat_where where;
  COUNT(name, cat_decode(&a->grid, &part, 1, 1, &where) == 0);
  check_items(&box, dest);
  free(dest);
}

static void count_whole_chunk(const char *name, const char *reference, const array *a) {
  int64_t edge = a->grid.chunk[0];
  count_decode(name, a, make_box(0, 0, 0, edge, edge, edge));
  blosc2_dparams dparams = BLOSC2_DPARAMS_DEFAULTS;
  dparams.nthreads = 1;
  blosc2_context *context = blosc2_create_dctx(dparams);
  int32_t nbytes = (int32_t)(a->nitems * SIZE);
  float *dest = allocate(nbytes);
  COUNT(reference,
        blosc2_decompress_ctx(context, a->chunk, (int32_t)a->cbytes, dest, nbytes) == nbytes);
  free(dest);
  blosc2_free_ctx(context);
}

static void count_item(const char *name, const char *reference, array *a) {
  blosc2_cparams cparams = BLOSC2_CPARAMS_DEFAULTS;
  cparams.typesize = SIZE;
  blosc2_dparams dparams = BLOSC2_DPARAMS_DEFAULTS;
  dparams.nthreads = 1;
  blosc2_storage storage = {.contiguous = true, .cparams = &cparams, .dparams = &dparams};
  blosc2_schunk *schunk = blosc2_schunk_new(&storage);
  CHECK(schunk != NULL && blosc2_schunk_append_chunk(schunk, a->chunk, true) == 1);
  int64_t at = a->grid.chunk[0] / 2 + 1, block = a->grid.block[0];
  int64_t strides[NDIM] = {SIZE, SIZE, SIZE};
  cat_box box = make_box(at, at, at, 1, 1, 1);
  cat_where where;
  float item;
  COUNT(name, cat_read(&a->grid, schunk, &box, (uint8_t *)&item, strides, 1, &where) == 0);
  check_items(&box, &item);
  blosc2_context *context = blosc2_create_dctx(dparams);
  int64_t along = a->grid.chunk[0] / block, number = at / block * ((along + 1) * along + 1);
  int start = (int)(number * block * block * block); /* the first item of the same block */
  COUNT(reference, blosc2_getitem_ctx(context, a->chunk, (int32_t)a->cbytes, start, 1, &item,
                                      SIZE) == SIZE);
  blosc2_free_ctx(context);
  blosc2_schunk_free(schunk);
}

enum { ITEMS = 1000 };

/* Items all over the chunk. */
static cat_box scattered(const array *a, int64_t i) {
  int64_t edge = a->grid.chunk[0];
  return make_box(i * 31 % edge, i * 57 % edge, i * 91 % edge, 1, 1, 1);
}

/* The place of an item among those of all blocks. */
static int place_in_blocks(const array *a, const int64_t *index) {
  int64_t block = a->grid.block[0], along = a->grid.chunk[0] / block, number = 0, within = 0;
  for (int d = 0; d < NDIM; d++) {
    number = number * along + index[d] / block;
    within = within * block + index[d] % block;
  }
  return (int)(number * block * block * block + within);
}

static int get_items(blosc2_context *context, const array *a, float *items) {
  int right = 1;
  for (int64_t i = 0; i < ITEMS; i++) {
    cat_box box = scattered(a, i);
    right &= blosc2_getitem_ctx(context, a->chunk, (int32_t)a->cbytes,
                                place_in_blocks(a, box.start), 1, &items[i], SIZE) == SIZE;
  }
  return right;
}

static void count_scattered(const char *name, const char *reference, int codec) {
  array a = make_array(64, 8, codec);
  cat_piece piece = {0, a.cbytes, a.chunk};
  cat_part *parts = allocate(ITEMS * (int64_t)sizeof *parts);
  float *items = allocate(ITEMS * SIZE);
  for (int64_t i = 0; i < ITEMS; i++) {
    parts[i] = (cat_part){.pieces = &piece, .npieces = 1, .box = scattered(&a, i),
                          .dest = (uint8_t *)&items[i]};
  }
  cat_where where;
  COUNT(name, cat_decode(&a.grid, parts, ITEMS, 1, &where) == 0);
  blosc2_dparams dparams = BLOSC2_DPARAMS_DEFAULTS;
  dparams.nthreads = 1;
  blosc2_context *context = blosc2_create_dctx(dparams);
  float *others = allocate(ITEMS * SIZE);
  COUNT(reference, get_items(context, &a, others));
  for (int64_t i = 0; i < ITEMS; i++) {
    check_items(&parts[i].box, &items[i]);
  }
  CHECK(memcmp(items, others, ITEMS * SIZE) == 0);
  blosc2_free_ctx(context);
  free(others);
  free(items);
  free(parts);
  free_array(&a);
}

/* --- encoding ----------------------------------------------------------------------------------- */

static void count_encode(const char *name, const array *a, int f_order) {
  float *items = allocate(a->nitems * SIZE);
  uint8_t *dest = allocate(a->bound);
  int64_t edge = a->grid.chunk[0], strides[NDIM];
  for (int d = 0; d < NDIM; d++) {
    strides[d] = a->strides[f_order ? NDIM - 1 - d : d];
  }
  const float *item = a->items;
  for (int64_t i = 0; i < edge; i++) {
    for (int64_t j = 0; j < edge; j++) {
      for (int64_t k = 0; k < edge; k++) {
        items[(i * strides[0] + j * strides[1] + k * strides[2]) / SIZE] = *item++;
      }
    }
  }
  cat_where where;
  COUNT(name, cat_encode(&a->grid, &a->compression, (uint8_t *)items, strides, a->grid.chunk, dest,
                         a->bound, 1, &where) == a->cbytes);
  CHECK(memcmp(dest, a->chunk, (size_t)a->cbytes) == 0);
  free(items);
  free(dest);
}

static void count_codec_encode(const char *name, const array *a) {
  blosc2_cparams cparams = BLOSC2_CPARAMS_DEFAULTS;
  cparams.typesize = SIZE;
  cparams.compcode = a->compression.codec;
  cparams.clevel = a->compression.clevel;
  cparams.blocksize = (int32_t)(a->grid.block[0] * a->grid.block[1] * a->grid.block[2] * SIZE);
  cparams.splitmode = a->compression.splitmode;
  cparams.nthreads = 1;
  blosc2_dparams dparams = BLOSC2_DPARAMS_DEFAULTS;
  dparams.nthreads = 1;
  blosc2_context *decode = blosc2_create_dctx(dparams), *encode = blosc2_create_cctx(cparams);
  int32_t nbytes = (int32_t)(a->nitems * SIZE);
  uint8_t *in_blocks = allocate(nbytes), *dest = allocate(a->bound);
  CHECK(blosc2_decompress_ctx(decode, a->chunk, (int32_t)a->cbytes, in_blocks, nbytes) == nbytes);
  COUNT(name, blosc2_compress_ctx(encode, in_blocks, nbytes, dest, (int32_t)a->bound) > 0);
  free(in_blocks);
  free(dest);
  blosc2_free_ctx(decode);
  blosc2_free_ctx(encode);
}

static void count_update(const char *name, const array *a) {
  int64_t block = a->grid.block[0];
  cat_box box = make_box(block, block, block, block, block, block);
  const uint8_t *src = (uint8_t *)a->items; /* the first block goes to where another is */
  uint8_t *dest = allocate(a->bound);
  cat_where where;
  COUNT(name, cat_update(&a->grid, &a->compression, a->chunk, a->cbytes, &box, src, a->strides,
                         dest, a->bound, 1, &where) > 0);
  CHECK(memcmp(dest, a->chunk, (size_t)a->cbytes) != 0);
  free(dest);
}

int main(void) {
#ifdef __clang__
  printf("Clang %d\n", __clang_major__);
#else
  printf("GCC %d\n", __GNUC__);
#endif
  blosc2_init();
  array lz4 = make_array(128, 32, BLOSC_LZ4);
  count_whole_chunk("decode, blocks 32", "C-Blosc2: decode, blocks 32", &lz4);
  count_decode("plane of axis 0", &lz4, make_box(70, 0, 0, 1, 128, 128));
  count_decode("plane of axis 2", &lz4, make_box(0, 0, 70, 128, 128, 1));
  count_decode("cube of 20", &lz4, make_box(54, 54, 54, 20, 20, 20));
  count_item("item, blocks 32", "C-Blosc2: item, blocks 32", &lz4);
  count_encode("encode, C order", &lz4, 0);
  count_encode("encode, F order", &lz4, 1);
  count_codec_encode("C-Blosc2: encode", &lz4);
  count_update("update of a block", &lz4);
  free_array(&lz4);

  array small = make_array(128, 16, BLOSC_LZ4);
  count_whole_chunk("decode, blocks 16", "C-Blosc2: decode, blocks 16", &small);
  count_item("item, blocks 16", "C-Blosc2: item, blocks 16", &small);
  free_array(&small);

  count_scattered("1000 items", "C-Blosc2: 1000 items", BLOSC_LZ4);
  count_scattered("1000 items, BloscLZ", "C-Blosc2: 1000 items, BloscLZ", BLOSC_BLOSCLZ);

  array zstd = make_array(64, 32, BLOSC_ZSTD);
  count_item("item, Zstandard", "C-Blosc2: item, Zstandard", &zstd);
  free_array(&zstd);
  blosc2_destroy();
  return 0;
}
