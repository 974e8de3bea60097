/* Chunks in which every item is the same are 32 bytes, or these and one item. */
#include "tests.h"

void test_special_chunks(generator *g) {
  sample s = random_sample(g, 1 << 12);
  const cat_grid *grid = &s.grid;
  int64_t itemsize = grid->itemsize;
  int special = (int)between(g, BLOSC2_SPECIAL_ZERO, BLOSC2_SPECIAL_UNINIT);
  s.grid.checksums = 0; /* of which a value has none */
  uint8_t header[BLOSC_EXTENDED_HEADER_LENGTH] = {
      BLOSC2_VERSION_FORMAT_STABLE, 1, BLOSC_DOSHUFFLE | BLOSC_DOBITSHUFFLE,
      itemsize > BLOSC_MAX_TYPESIZE ? 1 : (uint8_t)itemsize};
  int32_t sizes[3] = {(int32_t)count_chunk_bytes(grid),
                      (int32_t)(count_chunk_bytes(grid) / count_chunk_blocks(grid)),
                      BLOSC_EXTENDED_HEADER_LENGTH};
  if (special == BLOSC2_SPECIAL_VALUE) {
    sizes[2] += (int32_t)itemsize;
  }
  memcpy(header + BLOSC2_CHUNK_NBYTES, sizes, sizeof sizes);
  header[BLOSC2_CHUNK_BLOSC2_FLAGS] = (uint8_t)(special << 4);
  uint8_t *chunk = allocate(sizes[2]), *value = allocate(itemsize);
  memcpy(chunk, header, sizeof header);
  memset(value, 0, (size_t)itemsize);
  if (special == BLOSC2_SPECIAL_VALUE) {
    for (int64_t i = 0; i < itemsize; i++) {
      chunk[BLOSC_EXTENDED_HEADER_LENGTH + i] = value[i] = (uint8_t)next_random(g);
    }
  } else if (special == BLOSC2_SPECIAL_NAN && itemsize == 4) {
    memcpy(value, "\x00\x00\xc0\x7f", 4);
  } else if (special == BLOSC2_SPECIAL_NAN && itemsize == 8) {
    memcpy(value, "\x00\x00\x00\x00\x00\x00\xf8\x7f", 8);
  }
  int64_t n = count_items(grid->ndim, grid->chunk);
  uint8_t *items = allocate(n * itemsize);
  for (int64_t i = 0; i < n; i++) {
    memcpy(items + i * itemsize, value, (size_t)itemsize);
  }
  cat_piece piece = {0, sizes[2], chunk};
  if (special == BLOSC2_SPECIAL_NAN && itemsize != 4 && itemsize != 8) {
    memory to = dense_memory(grid->ndim, itemsize, grid->chunk);
    cat_box box = whole_box(grid->ndim, grid->chunk);
    cat_part part = part_of(&piece, 1, &box, items, &to);
    cat_where where;
    int error = cat_decode(grid, &part, 1, 1, &where);
    CHECK(error == CAT_ERROR_GEOMETRY, "error %d", error);
  } else {
    for (int i = 0; i < 3; i++) {
      cat_box box = random_box(g, grid->ndim, grid->chunk);
      check_decoding(g, &s, &piece, 1, &box, items, 1 + 3 * (i % 2));
      check_decoding_from_file(g, &s, &(bytes){chunk, sizes[2]}, &box, items, 1 + 3 * (i % 2));
    }
  }
  free(items);
  free(value);
  free(chunk);
}
