/* What the fuzz targets share. Nothing depends on anything but the input, so that each can be repeated. */
#ifndef CATERVA_CFFI_FUZZ_SUPPORT_H
#define CATERVA_CFFI_FUZZ_SUPPORT_H

#include "../native/tests.h"

/* More takes longer, and shows nothing else. */
enum { MOST_BYTES = 1 << 18, MOST_CHUNKS = 1 << 16 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Chooses what is done with an input. */
static inline generator choices_of(const uint8_t *data, size_t size) {
  generator g = {size};
  for (size_t i = 0; i < size; i++) {
    g.state = (g.state ^ data[i]) * UINT64_C(0x100000001B3);
  }
  return g;
}

/* Whether a grid is one that our Python code hands on, and small. */
static inline int is_small_grid(const cat_grid *grid) {
  int64_t nbytes = grid->itemsize, nchunks = 1;
  if (grid->itemsize < 1) {
    return 0;
  }
  for (int d = 0; d < grid->ndim; d++) {
    int64_t block = grid->block[d], chunk = grid->chunk[d];
    if (block < 1 || block > chunk || chunk > MOST_BYTES || grid->shape[d] < 0 ||
        grid->shape[d] / chunk > MOST_CHUNKS) {
      return 0;
    }
    nbytes *= (chunk + block - 1) / block * block;
    nchunks *= (grid->shape[d] + chunk - 1) / chunk;
    if (nbytes > MOST_BYTES || nchunks > MOST_CHUNKS) {
      return 0;
    }
  }
  return nbytes <= MOST_BYTES;
}

#endif
