#include "encode.h"

#include <blosc2/filters-registry.h>

#include "compress.h"

int64_t cat_finish_header(const geometry *g, uint8_t *chunk, int64_t cbytes, int zeros) {
  chunk[BLOSC2_CHUNK_BLOSC2_FLAGS] &= (uint8_t) ~(BLOSC2_SPECIAL_MASK << 4); /* of its first block */
  if (zeros) {
    chunk[BLOSC2_CHUNK_BLOSC2_FLAGS] |= BLOSC2_SPECIAL_ZERO << 4;
    cbytes = HEADER;
  }
  store_int32(chunk + BLOSC2_CHUNK_NBYTES, g->nbytes);
  store_int32(chunk + BLOSC2_CHUNK_BLOCKSIZE, g->blocksize);
  store_int32(chunk + BLOSC2_CHUNK_CBYTES, (int32_t)cbytes);
  return cbytes;
}

int64_t cat_encode_bound(const cat_grid *grid) {
  geometry g;
  int error = cat_find_geometry(grid, &g);
  if (error) {
    return error;
  }
  /* C-Blosc2 writes offsets before it finds that there is no room: they can be larger than blocks. */
  int64_t limit = cat_limit_of(grid, &g), offsets = offsets_end(&g);
  limit = limit > offsets ? limit : offsets;
  return limit <= INT32_MAX ? limit : CAT_ERROR_GEOMETRY;
}

/* NDCELL fails where a block is shorter than its cells, and what NDMEAN makes of one never decodes. */
static int cells_fit(const geometry *g, const cat_compression *compression) {
  for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
    int filter = compression->filters[i], cell = compression->filters_meta[i];
    if (filter == BLOSC_FILTER_NDCELL || filter == BLOSC_FILTER_NDMEAN) {
      for (int d = 0; d < g->ndim; d++) {
        if (g->block[d] < cell) {
          return 0;
        }
      }
    }
  }
  return 1;
}

int cat_check_compression(const cat_grid *grid, const cat_compression *compression,
                          int64_t destsize, geometry *g) {
  int error = cat_find_geometry(grid, g);
  if (error || grid->cut) {
    return error ? error : CAT_ERROR_GEOMETRY;
  }
  if (!cat_codec_is_known(compression->codec, g->ndim, g->itemsize)) {
    return CAT_ERROR_CODEC;
  }
  if (!cat_filters_are_known(compression->filters) || !cells_fit(g, compression) ||
      !cat_filters_fill(compression->filters, compression->filters_meta, g->itemsize,
                        g->blocksize, g->nbytes)) {
    return CAT_ERROR_FILTER;
  }
  int64_t bound = cat_encode_bound(grid);
  if (bound < 0) {
    return (int)bound;
  }
  if (destsize < bound || HEADER + OFFSET + cat_block_bound(g) > INT32_MAX) {
    return CAT_ERROR_TRUNCATED;
  }
  return 0;
}

int64_t cat_encode(const cat_grid *grid, const cat_compression *compression, const uint8_t *src,
                   const int64_t *strides, const int64_t *extent, uint8_t *dest, int64_t destsize,
                   int nthreads, cat_where *where) {
  cat_source source = {.src = src, .dest = dest, .destsize = destsize};
  int64_t n = grid->ndim < 0 || grid->ndim > CAT_MAX_DIM ? 0 : grid->ndim;
  for (int64_t d = 0; d < n; d++) {
    source.strides[d] = strides[d];
    source.extent[d] = extent[d];
  }
  int error = cat_encode_many(grid, compression, &source, 1, nthreads, where);
  where->chunk = -1;
  return error ? error : source.cbytes;
}
