/* Bytes and arguments that nobody should give: an error, or items in the destination, no more. */
#include "tests.h"

#include <blosc2/codecs-registry.h>

static void store(uint8_t *to, int32_t value) { memcpy(to, &value, sizeof value); }

static int32_t extreme(generator *g, int64_t size) {
  switch (between(g, 0, 5)) {
    case 0: return (int32_t)next_random(g);
    case 1: return INT32_MAX - (int32_t)between(g, 0, 40);
    case 2: return INT32_MIN + (int32_t)between(g, 0, 40);
    case 3: return (int32_t)between(g, -40, 40);
    case 4: return (int32_t)between(g, size - 40, size + 40);
    default: return (int32_t)between(g, 0, size);
  }
}

/* Change one thing. */
static void damage(generator *g, uint8_t *chunk, int64_t size, int64_t nblocks) {
  static const uint8_t codecs[] = {
      BLOSC_CODEC_NDLZ,
      BLOSC_CODEC_ZFP_FIXED_ACCURACY,
      BLOSC_CODEC_ZFP_FIXED_PRECISION,
      BLOSC_CODEC_ZFP_FIXED_RATE,
  };
  int64_t header = BLOSC_EXTENDED_HEADER_LENGTH, body = header + 4 * nblocks;
  int64_t behind = between(g, 0, size - 1);
  switch (between(g, 0, 6)) {
    case 0:
      chunk[between(g, 0, (size < header ? size : header) - 1)] = (uint8_t)next_random(g);
      break;
    case 1:
      chunk[between(g, 0, (size < header ? size : header) - 1)] ^= (uint8_t)(1 << between(g, 0, 7));
      break;
    case 2:
      store(chunk + 4 + 4 * between(g, 0, 2), extreme(g, size));
      break;
    case 3:
      if (size >= body) {
        store(chunk + header + 4 * between(g, 0, nblocks - 1), extreme(g, size));
      }
      break;
    case 4: /* what is mostly a size in front of a stream, where blocks begin */
      if (size >= body + 4) {
        int32_t at;
        memcpy(&at, chunk + header + 4 * between(g, 0, nblocks - 1), sizeof at);
        if (at >= 0 && at <= size - 4) {
          store(chunk + at, extreme(g, size));
        }
      }
      break;
    case 5:
      for (int64_t i = between(g, 1, 8); i > 0; i--) {
        behind = size > body ? between(g, body, size - 1) : behind;
        chunk[behind] = (uint8_t)next_random(g);
      }
      break;
    default:
      if (one_in(g, 4)) {
        chunk[BLOSC2_CHUNK_FLAGS] = (uint8_t)((chunk[BLOSC2_CHUNK_FLAGS] & 0x1F) |
                                              BLOSC_UDCODEC_FORMAT << 5);
        chunk[22] = codecs[between(g, 0, 3)];
        chunk[23] = (uint8_t)next_random(g);
      }
  }
}

/* Replace a part of a damaged chunk by what was just found in it. */
static void change_damaged(const sample *s, const uint8_t *chunk, int64_t size, const cat_box *box,
                           const uint8_t *src, const memory *from) {
  int64_t bound = cat_encode_bound(&s->grid);
  uint8_t *changed = allocate(bound);
  cat_where where;
  int64_t found = cat_update(&s->grid, &s->compression, chunk, size, box, src, from->strides,
                             changed, bound, 1, &where);
  CHECK(found <= bound, "%lld bytes", (long long)found);
  free(changed);
}

/* In a file a chunk must not end behind where it may. Else the same comes of it as in memory. */
static void decode_damaged_in_file(generator *g, const cat_grid *grid, const bytes *chunk,
                                   const cat_part *expected, const memory *to, int error) {
  test_file file = new_file();
  cat_place place = place_chunk(g, &file, between(g, 0, 100), chunk);
  place.stop = place.start + chunk->size;
  uint8_t *memory = allocate(to->span);
  memset(memory, 0, (size_t)to->span);
  cat_part part = *expected;
  part.place = &place;
  part.dest = memory + to->first;
  cat_where where;
  int found = cat_decode(grid, &part, 1, 1, &where);
  /* Of several damaged blocks the first one is met, and a file's blocks are met as they are stored. */
  int alike = found == CAT_ERROR_TRUNCATED || !found == !error;
  CHECK(alike, "%d in a file, %d in memory", found, error);
  CHECK(found || memcmp(memory, expected->dest - to->first, (size_t)to->span) == 0, "%lld bytes",
        (long long)chunk->size);
  free(memory);
  remove_file(&file);
}

static void decode_damaged(generator *g, const sample *s, const uint8_t *chunk, int64_t size,
                           int must_fail) {
  uint8_t *data = copy_bytes(chunk, size);
  cat_piece piece = {0, size, data};
  cat_box box = must_fail ? whole_box(s->grid.ndim, s->grid.chunk)
                          : random_box(g, s->grid.ndim, s->grid.chunk);
  memory to = random_memory(g, s->grid.ndim, s->grid.itemsize, box.count, 0);
  uint8_t *found = allocate(to.span);
  memset(found, 0, (size_t)to.span);
  cat_part part = part_of(&piece, 1, &box, found, &to);
  cat_where where;
  int error = cat_decode(&s->grid, &part, 1, one_in(g, 4) ? 4 : 1, &where);
  CHECK(error <= 0, "%d", error);
  CHECK(error || !must_fail, "%lld bytes were enough", (long long)size);
  CHECK(where.block >= -1 && where.block < count_chunk_blocks(&s->grid), "block %lld",
        (long long)where.block);
  decode_damaged_in_file(g, &s->grid, &(bytes){data, size}, &part, &to, error);
  count_event(error ? DAMAGE_REFUSED : DAMAGE_DECODED);
  change_damaged(s, data, size, &box, found + to.first, &to);
  free(found);
  free(data);
}

void test_damage(generator *g) {
  sample s = random_sample(g, between(g, 64, 2048));
  memory from = dense_memory(s.grid.ndim, s.grid.itemsize, s.grid.chunk);
  uint8_t *src = allocate(from.span);
  bytes chunk = {0};
  for (int i = 0; i < 4 && chunk.size < 64; i++) { /* rather not zeros */
    fill_random(g, src, from.span, s.grid.itemsize);
    free(chunk.data);
    chunk = encode(&s, src, &from, 1);
  }
  free(src);
  if (chunk.size < 0) {
    return;
  }
  int64_t nblocks = count_chunk_blocks(&s.grid);
  for (int i = 0; i < 10; i++) {
    int64_t size = between(g, 0, chunk.size - 1);
    decode_damaged(g, &s, chunk.data, size, 1);
    if (size >= BLOSC_EXTENDED_HEADER_LENGTH) {
      uint8_t *shorter = copy_bytes(chunk.data, size);
      store(shorter + BLOSC2_CHUNK_CBYTES, (int32_t)size);
      decode_damaged(g, &s, shorter, size, 0);
      free(shorter);
    }
  }
  for (int i = 0; i < 10 && s.grid.checksums && !is_special(chunk.data); i++) {
    uint8_t *changed = copy_bytes(chunk.data, chunk.size);
    changed[between(g, 0, chunk.size - 1)] ^= (uint8_t)(1 << between(g, 0, 7));
    decode_damaged(g, &s, changed, chunk.size, 1);
    free(changed);
  }
  for (int i = 0; i < 40; i++) {
    uint8_t *changed = copy_bytes(chunk.data, chunk.size);
    for (int64_t n = between(g, 1, 3); n > 0; n--) {
      damage(g, changed, chunk.size, nblocks);
    }
    decode_damaged(g, &s, changed, chunk.size, 0);
    free(changed);
  }
  free(chunk.data);
}

/* --- arguments ---------------------------------------------------------------------------------- */

static int64_t extreme_64(generator *g) {
  static const int64_t numbers[] = {INT64_MIN, INT64_MIN + 1, -1, 0, INT32_MAX, INT64_MAX - 1,
                                    INT64_MAX, (int64_t)1 << 31, (int64_t)1 << 32};
  return numbers[between(g, 0, (int64_t)(sizeof numbers / sizeof *numbers) - 1)];
}

static int is_inside(const cat_box *box, const int64_t *shape, int ndim) {
  for (int d = 0; d < ndim; d++) {
    if (box->start[d] < 0 || box->count[d] < 0 || box->step[d] < 1) {
      return 0;
    }
    if (box->count[d] > 0 &&
        box->start[d] + (__int128)(box->count[d] - 1) * box->step[d] >= shape[d]) {
      return 0;
    }
  }
  return 1;
}

/* One number of a box, a grid or an extent is out of bounds: it must be refused before any use. */
void test_arguments(generator *g) {
  sample s = random_sample(g, 1 << 10);
  if (s.grid.ndim == 0) {
    return;
  }
  s.compression = (cat_compression){.codec = BLOSC_LZ4, .clevel = 5, .splitmode = BLOSC_AUTO_SPLIT};
  int d = (int)between(g, 0, s.grid.ndim - 1);
  cat_where where;
  for (int i = 0; i < 10; i++) {
    cat_box box = random_box(g, s.grid.ndim, s.grid.chunk);
    int64_t *number = one_in(g, 3) ? box.start : one_in(g, 2) ? box.count : box.step;
    number[d] = extreme_64(g);
    if (is_inside(&box, s.grid.chunk, s.grid.ndim)) {
      continue;
    }
    cat_part part = {.box = box};
    int error = cat_decode(&s.grid, &part, 1, 1, &where);
    CHECK(error == CAT_ERROR_GEOMETRY, "error %d", error);
    count_event(ARGUMENT_REFUSED);
  }
  for (int i = 0; i < 10; i++) {
    cat_grid grid = s.grid;
    int64_t bad = extreme_64(g);
    int64_t *side = one_in(g, 2) ? &grid.chunk[d] : &grid.block[d];
    *side = bad;
    int64_t bound = cat_encode_bound(&grid);
    CHECK(bound == CAT_ERROR_GEOMETRY || (bad > 0 && bound > 32 && bound <= 4 * (int64_t)INT32_MAX),
          "bound %lld", (long long)bound);
    if (bound < 0) {
      uint8_t dest[64];
      int64_t size = cat_encode(&grid, &s.compression, dest, grid.shape, grid.shape, dest,
                                sizeof dest, 1, &where);
      CHECK(size == CAT_ERROR_GEOMETRY, "%lld", (long long)size);
      cat_part part = {.box = random_box(g, s.grid.ndim, s.grid.chunk)};
      int error = cat_decode(&grid, &part, 1, 1, &where);
      CHECK(error == CAT_ERROR_GEOMETRY, "error %d", error);
      count_event(ARGUMENT_REFUSED);
    }
  }
  int64_t extent[CAT_MAX_DIM];
  memcpy(extent, s.grid.chunk, sizeof extent);
  extent[d] = one_in(g, 2) ? s.grid.chunk[d] + 1 : -1;
  int64_t size = cat_encode(&s.grid, &s.compression, NULL, extent, extent, NULL, INT32_MAX, 1,
                            &where);
  CHECK(size == CAT_ERROR_GEOMETRY, "%lld", (long long)size);
  int64_t bound = cat_encode_bound(&s.grid);
  size = cat_encode(&s.grid, &s.compression, NULL, s.grid.chunk, s.grid.chunk, NULL, bound - 1, 1,
                    &where);
  CHECK(size == CAT_ERROR_TRUNCATED, "%lld", (long long)size);
}
