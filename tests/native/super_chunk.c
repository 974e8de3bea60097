/* Several threads read one array in memory while others encode. */
#include "tests.h"

#include <pthread.h>

typedef struct {
  const sample *s;
  blosc2_schunk *schunk;
  const uint8_t *items; /* of the whole array, dense */
  const memory *array;
  const bytes *first; /* the first chunk */
  const memory *first_memory;
  const uint8_t *src;
  uint64_t seed;
} reader;

static void check_reading(generator *g, const reader *r, const cat_box *box, int nthreads) {
  const cat_grid *grid = &r->s->grid;
  memory to = random_memory(g, grid->ndim, grid->itemsize, box->count, 0);
  uint8_t *found = allocate(to.span), *expected = allocate(to.span);
  memset(found, 0xA5, (size_t)to.span);
  memset(expected, 0xA5, (size_t)to.span);
  copy_box(expected, &to, r->items, r->array, box);
  cat_where where;
  int error = cat_read(grid, r->schunk, box, found + to.first, to.strides, nthreads, &where);
  CHECK(error == 0, "error %d in chunk %lld, block %lld", error, (long long)where.chunk,
        (long long)where.block);
  CHECK(memcmp(found, expected, (size_t)to.span) == 0, "%d threads", nthreads);
  free(found);
  free(expected);
}

static void *read_boxes(void *given) {
  const reader *r = given;
  generator g = {r->seed};
  for (int i = 0; i < 4; i++) {
    cat_box box = random_box(&g, r->s->grid.ndim, r->s->grid.shape);
    check_reading(&g, r, &box, (int)between(&g, 0, 3));
    cat_set_nthreads((int)between(&g, 1, 4));
    bytes again = encode(r->s, r->src, r->first_memory, (int)between(&g, 0, 3));
    CHECK(again.size == r->first->size &&
              memcmp(again.data, r->first->data, (size_t)again.size) == 0,
          "%lld and %lld bytes", (long long)again.size, (long long)r->first->size);
    free(again.data);
  }
  return NULL;
}

/* Encode all chunks and append them. Returns the first error. */
static int64_t append_chunks(const reader *r, bytes *first, memory *first_memory) {
  const cat_grid *grid = &r->s->grid;
  int64_t k[CAT_MAX_DIM] = {0}, nchunks[CAT_MAX_DIM];
  for (int d = 0; d < grid->ndim; d++) {
    nchunks[d] = (grid->shape[d] + grid->chunk[d] - 1) / grid->chunk[d];
  }
  do {
    memory from = *r->array;
    for (int d = 0; d < grid->ndim; d++) {
      int64_t start = k[d] * grid->chunk[d], left = grid->shape[d] - start;
      from.first += start * from.strides[d];
      from.count[d] = left < grid->chunk[d] ? left : grid->chunk[d];
    }
    bytes chunk = encode(r->s, r->src, &from, 0);
    if (chunk.size < 0) {
      return chunk.size;
    }
    int64_t n = blosc2_schunk_append_chunk(r->schunk, chunk.data, true);
    CHECK(n > 0, "C-Blosc2 returns %lld", (long long)n);
    if (first->data == NULL) {
      *first = chunk;
      *first_memory = from;
    } else {
      free(chunk.data);
    }
  } while (advance(k, nchunks, grid->ndim));
  return 0;
}

void test_super_chunks(generator *g) {
  sample s = random_sample(g, one_in(g, 4) ? 1 << 18 : 1 << 12);
  const cat_grid *grid = &s.grid;
  blosc2_cparams cparams = BLOSC2_CPARAMS_DEFAULTS;
  cparams.typesize = grid->itemsize;
  cparams.nthreads = 1;
  blosc2_dparams dparams = BLOSC2_DPARAMS_DEFAULTS;
  dparams.nthreads = 1;
  blosc2_storage storage = {
      .contiguous = one_in(g, 2), .cparams = &cparams, .dparams = &dparams};
  memory array = dense_memory(grid->ndim, grid->itemsize, grid->shape), first_memory;
  uint8_t *src = allocate(array.span);
  fill_random(g, src, array.span, grid->itemsize);
  bytes first = {0};
  reader r = {.s = &s, .src = src, .items = src, .array = &array, .first = &first,
              .first_memory = &first_memory, .schunk = blosc2_schunk_new(&storage)};
  CHECK(r.schunk != NULL, "no super-chunk");
  if (append_chunks(&r, &first, &first_memory) == 0) {
    uint8_t *items = allocate(array.span);
    cat_box whole = whole_box(grid->ndim, grid->shape);
    cat_where where;
    int error = cat_read(grid, r.schunk, &whole, items, array.strides, 1, &where);
    CHECK(error == 0, "error %d in chunk %lld, block %lld", error, (long long)where.chunk,
          (long long)where.block);
    CHECK(s.lossy || memcmp(items, src, (size_t)array.span) == 0, "the whole array");
    r.items = items;
    enum { READERS = 4 };
    pthread_t threads[READERS];
    reader readers[READERS];
    for (int i = 0; i < READERS; i++) {
      readers[i] = r;
      readers[i].seed = next_random(g);
      CHECK(pthread_create(&threads[i], NULL, read_boxes, &readers[i]) == 0, "no thread");
    }
    for (int i = 0; i < READERS; i++) {
      pthread_join(threads[i], NULL);
    }
    cat_set_nthreads(3);
    count_event(READ_BY_THREADS);
    free(items);
  } else {
    count_event(NOT_ENCODED);
  }
  free(first.data);
  free(src);
  blosc2_schunk_free(r.schunk);
}
