/* Random strides, grids, boxes and compression, and references that go item by item. */
#include "tests.h"

#include <math.h>

#include <blosc2/codecs-registry.h>
#include <blosc2/filters-registry.h>

/* --- items in memory ----------------------------------------------------------------------------- */

int64_t count_items(int ndim, const int64_t *count) {
  int64_t n = 1;
  for (int d = 0; d < ndim; d++) {
    n *= count[d];
  }
  return n;
}

int advance(int64_t *index, const int64_t *count, int ndim) {
  for (int d = ndim - 1; d >= 0; d--) {
    if (++index[d] < count[d]) {
      return 1;
    }
    index[d] = 0;
  }
  return 0;
}

static memory start_memory(int ndim, int64_t itemsize, const int64_t *count) {
  memory l = {.ndim = ndim, .itemsize = itemsize};
  for (int d = 0; d < ndim; d++) {
    l.count[d] = count[d];
  }
  return l;
}

memory dense_memory(int ndim, int64_t itemsize, const int64_t *count) {
  memory l = start_memory(ndim, itemsize, count);
  l.span = itemsize;
  for (int d = ndim - 1; d >= 0; d--) {
    l.strides[d] = l.span;
    l.span *= count[d];
  }
  return l;
}

memory random_memory(generator *g, int ndim, int64_t itemsize, const int64_t *count, int is_source) {
  enum { C_ORDER, F_ORDER, GAPS, ANY_ORDER, KINDS };
  int kind = (int)between(g, 0, KINDS - 1), order[CAT_MAX_DIM];
  for (int d = 0; d < ndim; d++) {
    order[d] = kind == F_ORDER ? d : ndim - 1 - d;
  }
  for (int d = ndim - 1; kind == ANY_ORDER && d > 0; d--) {
    int other = (int)between(g, 0, d), kept = order[d];
    order[d] = order[other];
    order[other] = kept;
  }
  memory l = start_memory(ndim, itemsize, count);
  l.first = one_in(g, 3) ? between(g, 1, 7) : 0;
  int64_t stride = itemsize, empty = 0;
  l.span = l.first + itemsize;
  for (int i = 0; i < ndim; i++) {
    int d = order[i];
    if (kind >= GAPS && one_in(g, 3)) {
      stride += one_in(g, 2) ? between(g, 1, 3) : stride;
    }
    l.strides[d] = is_source && one_in(g, 20) ? 0 : stride;
    empty |= count[d] == 0;
    if (count[d] > 1) {
      int64_t length = l.strides[d] * (count[d] - 1);
      l.span += length;
      stride = l.strides[d] ? stride * count[d] : stride;
      if (kind >= GAPS && one_in(g, 3)) {
        l.first += length;
        l.strides[d] = -l.strides[d];
      }
    } else if (one_in(g, 4)) {
      /* Nobody may walk along a dimension of one item. */
      l.strides[d] = one_in(g, 2) ? INT64_MAX : INT64_MIN;
    }
  }
  l.span = empty ? l.first : l.span;
  return l;
}

static int64_t offset_of(const memory *l, const int64_t *index) {
  int64_t offset = l->first;
  for (int d = 0; d < l->ndim; d++) {
    offset += index[d] ? index[d] * l->strides[d] : 0;
  }
  return offset;
}

void copy_box(uint8_t *dest, const memory *to, const uint8_t *src, const memory *from,
              const cat_box *box) {
  const int64_t *count = box == NULL ? from->count : box->count;
  int64_t k[CAT_MAX_DIM] = {0}, index[CAT_MAX_DIM] = {0};
  if (count_items(from->ndim, count) == 0) {
    return;
  }
  do {
    for (int d = 0; d < from->ndim; d++) {
      index[d] = box == NULL ? k[d] : box->start[d] + (k[d] ? k[d] * box->step[d] : 0);
    }
    memcpy(dest + offset_of(to, k), src + offset_of(from, index), (size_t)from->itemsize);
  } while (advance(k, count, from->ndim));
}

/* --- cases -------------------------------------------------------------------------------------- */

int64_t count_chunk_blocks(const cat_grid *grid) {
  int64_t n = 1;
  for (int d = 0; d < grid->ndim; d++) {
    n *= (grid->chunk[d] + grid->block[d] - 1) / grid->block[d];
  }
  return n;
}

int64_t count_chunk_bytes(const cat_grid *grid) {
  return count_chunk_blocks(grid) * count_items(grid->ndim, grid->block) * grid->itemsize;
}

static void fill_grid(generator *g, cat_grid *grid, int64_t most_bytes) {
  int ndim = grid->ndim;
  int64_t most = most_bytes / grid->itemsize, items = 1;
  int64_t usual = ndim == 0 ? 1 : (int64_t)pow((double)most, 1.0 / ndim) + 1;
  for (int d = 0; d < ndim; d++) {
    grid->chunk[d] = 1;
  }
  for (int i = 0; i < 3 * ndim; i++) {
    int64_t *side = &grid->chunk[between(g, 0, ndim - 1)], longer = *side + between(g, 1, usual);
    if (items / *side * longer <= most) {
      items = items / *side * longer;
      *side = longer;
    }
  }
  int contiguous = one_in(g, 3); /* blocks lie in a C-ordered chunk as they are */
  int eighths = 1;               /* of the sides that are not divided */
  do {
    eighths++;
    for (int d = 0; d < ndim; d++) {
      int whole = (contiguous && d > 0) || between(g, 1, 8) <= eighths;
      grid->block[d] = whole ? grid->chunk[d] : between(g, 1, grid->chunk[d]);
    }
  } while (count_chunk_blocks(grid) > 1500 ||
           count_chunk_bytes(grid) > 2 * most_bytes + grid->itemsize);
  for (int d = 0; d < ndim; d++) {
    grid->shape[d] = between(g, 1, (ndim > 5 ? 1 : 3) * grid->chunk[d]);
  }
}

#define PICK(g, list) (list)[between(g, 0, (int64_t)(sizeof(list) / sizeof *(list)) - 1)]

/* C-Blosc2's ndmean does not decode blocks that are shorter than its cells along some dimension. */
static int64_t shortest_side(const cat_grid *grid) {
  int64_t shortest = 8;
  for (int d = 0; d < grid->ndim; d++) {
    shortest = grid->block[d] < shortest ? grid->block[d] : shortest;
  }
  return shortest;
}

static void fill_filters(generator *g, sample *s) {
  static const uint8_t usual[] = {BLOSC_SHUFFLE, BLOSC_SHUFFLE, BLOSC_BITSHUFFLE, BLOSC_DELTA};
  static const uint8_t others[] = {BLOSC_TRUNC_PREC, BLOSC_FILTER_NDCELL, BLOSC_FILTER_NDMEAN,
                                   BLOSC_FILTER_BYTEDELTA, BLOSC_FILTER_INT_TRUNC};
  cat_compression *c = &s->compression;
  int n = one_in(g, 2) ? 1 : one_in(g, 4) ? (int)between(g, 3, 6) : (int)between(g, 0, 2);
  for (int i = BLOSC2_MAX_FILTERS - n; i < BLOSC2_MAX_FILTERS; i++) {
    c->filters[i] = one_in(g, 4) ? PICK(g, others) : PICK(g, usual);
    switch (c->filters[i]) {
      case BLOSC_FILTER_NDMEAN:
        s->lossy = 1;
        c->filters_meta[i] = (uint8_t)between(g, 1, shortest_side(&s->grid));
        break;
      case BLOSC_FILTER_NDCELL:
        c->filters_meta[i] = (uint8_t)between(g, 1, 8);
        break;
      case BLOSC_FILTER_BYTEDELTA:
        c->filters_meta[i] = (uint8_t)s->grid.itemsize;
        break;
      case BLOSC_TRUNC_PREC: case BLOSC_FILTER_INT_TRUNC:
        s->lossy = 1;
        c->filters_meta[i] = (uint8_t)between(g, 1, 23);
        break;
    }
    if (c->filters[i] != BLOSC_FILTER_NDMEAN && one_in(g, 50)) {
      c->filters_meta[i] = (uint8_t)next_random(g);
    }
  }
}

sample random_sample(generator *g, int64_t chunk_bytes) {
  static const int32_t itemsizes[] = {1, 1, 2, 3, 4, 4, 8, 8, 16, 255, 256, 300};
  static const uint8_t codecs[] = {BLOSC_BLOSCLZ, BLOSC_LZ4, BLOSC_LZ4, BLOSC_LZ4HC, BLOSC_ZLIB,
                                   BLOSC_ZSTD, BLOSC_ZSTD};
  static const uint8_t zfp[] = {BLOSC_CODEC_ZFP_FIXED_ACCURACY, BLOSC_CODEC_ZFP_FIXED_PRECISION,
                                BLOSC_CODEC_ZFP_FIXED_RATE};
  static const int32_t splits[] = {BLOSC_ALWAYS_SPLIT, BLOSC_NEVER_SPLIT, BLOSC_AUTO_SPLIT,
                                   BLOSC_FORWARD_COMPAT_SPLIT};
  sample s = {0};
  cat_compression *c = &s.compression;
  c->codec = PICK(g, codecs);
  c->clevel = (uint8_t)between(g, 0, 9);
  c->splitmode = PICK(g, splits);
  c->use_dict = one_in(g, 6) && c->codec != BLOSC_BLOSCLZ && c->codec != BLOSC_ZLIB;
  s.grid.ndim = one_in(g, 10) ? CAT_MAX_DIM : (int32_t)between(g, 0, 5);
  s.grid.itemsize = PICK(g, itemsizes);
  int kind = (int)between(g, 0, 11), fits = !one_in(g, 4);
  if (kind == 0) {
    c->codec = BLOSC_CODEC_NDLZ;
    c->codec_meta = one_in(g, 2) ? 4 : 8;
    c->clevel = (uint8_t)between(g, 1, 9);
    s.grid.ndim = fits ? 2 : s.grid.ndim;
    s.grid.itemsize = fits ? 1 : s.grid.itemsize;
  } else if (kind <= 2) {
    s.lossy = 1;
    c->codec = PICK(g, zfp);
    c->codec_meta = (uint8_t)(c->codec == BLOSC_CODEC_ZFP_FIXED_ACCURACY ? between(g, -10, 2)
                                                                        : between(g, 5, 50));
    c->clevel = (uint8_t)between(g, 1, 9);
    s.grid.ndim = fits ? (int32_t)between(g, 1, 4) : s.grid.ndim;
    s.grid.itemsize = !fits ? s.grid.itemsize : one_in(g, 2) ? 4 : 8;
  }
  fill_grid(g, &s.grid, chunk_bytes);
  s.grid.checksums = one_in(g, 3);
  if (kind > 2 || !fits) {
    fill_filters(g, &s);
  }
  remember_sample(&s);
  return s;
}

cat_box random_box(generator *g, int ndim, const int64_t *shape) {
  enum { WHOLE, ITEM, PLANE, CONTIGUOUS, STEPS, KINDS };
  int kind = (int)between(g, 0, KINDS - 1);
  int64_t plane = ndim == 0 ? 0 : between(g, 0, ndim - 1);
  cat_box box = {0};
  for (int d = 0; d < ndim; d++) {
    box.step[d] = kind == STEPS ? between(g, 1, shape[d]) : 1;
    if (kind == WHOLE || (kind == PLANE && d != plane)) {
      box.count[d] = shape[d];
    } else {
      box.start[d] = between(g, 0, shape[d] - 1);
      int64_t most = (shape[d] - 1 - box.start[d]) / box.step[d] + 1;
      box.count[d] = kind == ITEM || kind == PLANE ? 1 : between(g, one_in(g, 20) ? 0 : 1, most);
    }
    if (box.count[d] <= 1 && one_in(g, 10)) {
      box.step[d] = INT64_MAX; /* as in x[i::huge] */
    }
  }
  return box;
}

cat_box whole_box(int ndim, const int64_t *shape) {
  cat_box box = {0};
  for (int d = 0; d < ndim; d++) {
    box.count[d] = shape[d];
    box.step[d] = 1;
  }
  return box;
}

int is_special(const uint8_t *chunk) {
  return (chunk[BLOSC2_CHUNK_BLOSC2_FLAGS] >> 4 & 7) != BLOSC2_NO_SPECIAL;
}

int is_plain(const uint8_t *chunk) { return (chunk[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED) != 0; }

static void count_kind(const sample *s, const bytes *chunk) {
  int special = is_special(chunk->data), plain = is_plain(chunk->data);
  count_event(special ? CHUNK_SPECIAL : plain ? CHUNK_PLAIN : CHUNK_COMPRESSED);
  if (!special && !plain) {
    count_event(CODEC_EVENTS + s->compression.codec);
    for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
      count_event(FILTER_EVENTS + s->compression.filters[i]);
    }
    if (s->grid.checksums) {
      count_event(CHUNK_WITH_CHECKSUMS);
    }
    if (chunk->data[BLOSC2_CHUNK_BLOSC2_FLAGS] & BLOSC2_USEDICT) {
      count_event(CHUNK_WITH_DICTIONARY);
    }
  }
}

bytes encode(const sample *s, const uint8_t *src, const memory *from, int nthreads) {
  int64_t bound = cat_encode_bound(&s->grid);
  uint8_t *room = allocate(bound);
  cat_where where;
  int64_t size = cat_encode(&s->grid, &s->compression, src + from->first, from->strides,
                            from->count, room, bound, nthreads, &where);
  int64_t checked = s->grid.checksums ? 8 + 12 * count_chunk_blocks(&s->grid) : 0;
  CHECK(size <= BLOSC_EXTENDED_HEADER_LENGTH + count_chunk_bytes(&s->grid) + checked &&
            size <= bound,
        "%lld bytes; the bound is %lld", (long long)size, (long long)bound);
  bytes chunk = {size < 0 ? NULL : copy_bytes(room, size), size};
  free(room);
  if (size >= 0) {
    count_kind(s, &chunk);
  }
  return chunk;
}

cat_part part_of(const cat_piece *pieces, int64_t npieces, const cat_box *box, uint8_t *dest,
                 const memory *to) {
  cat_part part = {.pieces = pieces, .npieces = npieces, .box = *box, .dest = dest + to->first};
  memcpy(part.strides, to->strides, sizeof part.strides);
  return part;
}

void check_decoding(generator *g, const sample *s, const cat_piece *pieces, int64_t npieces,
                    const cat_box *box, const uint8_t *items, int nthreads) {
  cat_part source = {.pieces = pieces, .npieces = npieces};
  check_part(g, s, &source, box, items, nthreads);
}

void check_part(generator *g, const sample *s, const cat_part *source, const cat_box *box,
                const uint8_t *items, int nthreads) {
  const cat_grid *grid = &s->grid;
  memory from = dense_memory(grid->ndim, grid->itemsize, grid->chunk);
  memory to = random_memory(g, grid->ndim, grid->itemsize, box->count, 0);
  uint8_t *found = allocate(to.span), *expected = allocate(to.span);
  memset(found, 0xA5, (size_t)to.span);
  memset(expected, 0xA5, (size_t)to.span);
  copy_box(expected, &to, items, &from, box);
  cat_part part = part_of(source->pieces, source->npieces, box, found, &to);
  part.place = source->place;
  cat_where where;
  int error = cat_decode(grid, &part, 1, nthreads, &where);
  CHECK(error == 0, "error %d in chunk %lld, block %lld", error, (long long)where.chunk,
        (long long)where.block);
  CHECK(memcmp(found, expected, (size_t)to.span) == 0, "%d threads, codec %d", nthreads,
        s->compression.codec);
  free(found);
  free(expected);
}
