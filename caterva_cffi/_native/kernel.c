#include "kernel.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <b2nd.h>
#include <blosc2.h>
#include <blosc2/codecs-registry.h>
#include <blosc2/filters-registry.h>

enum {
  HEADER = BLOSC_EXTENDED_HEADER_LENGTH,
  OFFSET = sizeof(int32_t),
  FLAG_DONT_SPLIT = 0x10,
  FLAG_LAZY = 0x08,
  UDCODEC = 0x16, /* the header's byte for codecs without a number of their own */
  EXTENDED = BLOSC_DOSHUFFLE | BLOSC_DOBITSHUFFLE, /* both at once mark the 32-byte header */
};

static int32_t load_int32(const uint8_t *bytes) {
  return (int32_t)((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                   (uint32_t)bytes[3] << 24);
}

static void store_int32(uint8_t *bytes, int32_t value) {
  uint32_t bits = (uint32_t)value;
  for (int i = 0; i < 4; i++) {
    bytes[i] = (uint8_t)(bits >> 8 * i);
  }
}

/* --- geometry ---------------------------------------------------------------------------------- */

typedef struct {
  int32_t ndim;
  int32_t itemsize;
  int32_t blocksize; /* bytes */
  int32_t nbytes;    /* of the chunk, rounded up to whole blocks */
  int64_t nblocks;
  int64_t block[CAT_MAX_DIM];
  int64_t grid[CAT_MAX_DIM];          /* blocks along each dimension */
  int64_t block_strides[CAT_MAX_DIM]; /* bytes, inside a block */
} geometry;

static int find_geometry(const cat_grid *given, geometry *g) {
  if (given->ndim < 0 || given->ndim > CAT_MAX_DIM || given->itemsize < 1) {
    return CAT_ERROR_GEOMETRY;
  }
  g->ndim = given->ndim;
  g->itemsize = given->itemsize;
  int64_t blocksize = given->itemsize;
  g->nblocks = 1;
  for (int d = g->ndim - 1; d >= 0; d--) {
    if (given->block[d] < 1 || given->chunk[d] < given->block[d] || given->chunk[d] > INT32_MAX ||
        blocksize > INT32_MAX / given->block[d]) {
      return CAT_ERROR_GEOMETRY;
    }
    g->block[d] = given->block[d];
    g->block_strides[d] = blocksize;
    blocksize *= given->block[d];
    g->grid[d] = (given->chunk[d] + given->block[d] - 1) / given->block[d];
    if (g->nblocks > INT32_MAX / g->grid[d]) {
      return CAT_ERROR_GEOMETRY;
    }
    g->nblocks *= g->grid[d];
  }
  if (blocksize > BLOSC2_MAXBLOCKSIZE || g->nblocks > BLOSC2_MAX_BUFFERSIZE / blocksize) {
    return CAT_ERROR_GEOMETRY;
  }
  g->blocksize = (int32_t)blocksize;
  g->nbytes = (int32_t)(blocksize * g->nblocks);
  return 0;
}

/* --- strided copies ---------------------------------------------------------------------------- */

#define COPY_LOOP(SIZE)                                         \
  for (int64_t i = 0; i < n; i++) {                             \
    memcpy(dest + i * dest_stride, src + i * src_stride, SIZE); \
  }

static void copy_row(uint8_t *dest, int64_t dest_stride, const uint8_t *src, int64_t src_stride,
                     int64_t n, int64_t itemsize) {
  if (dest_stride == itemsize && src_stride == itemsize) {
    memcpy(dest, src, (size_t)(n * itemsize));
    return;
  }
  switch (itemsize) { /* a constant size lets the compiler move whole items */
    case 1: COPY_LOOP(1) break;
    case 2: COPY_LOOP(2) break;
    case 4: COPY_LOOP(4) break;
    case 8: COPY_LOOP(8) break;
    case 16: COPY_LOOP(16) break;
    default: COPY_LOOP((size_t)itemsize)
  }
}

/* Copy items between two layouts. The loops follow the strides of `outer`, the side that does not
 * fit the cache. */
static void copy_items(uint8_t *dest, const int64_t *dest_strides, const uint8_t *src,
                       const int64_t *src_strides, const int64_t *count, int ndim,
                       int64_t itemsize, const int64_t *outer) {
  int64_t n[CAT_MAX_DIM], ds[CAT_MAX_DIM], ss[CAT_MAX_DIM], os[CAT_MAX_DIM];
  int dims = 0;
  for (int d = 0; d < ndim; d++) {
    if (count[d] == 0) {
      return;
    }
    if (count[d] == 1) {
      continue;
    }
    int64_t stride = outer[d] < 0 ? -outer[d] : outer[d];
    int at = dims++;
    for (; at > 0 && os[at - 1] < stride; at--) {
      n[at] = n[at - 1], ds[at] = ds[at - 1], ss[at] = ss[at - 1], os[at] = os[at - 1];
    }
    n[at] = count[d], ds[at] = dest_strides[d], ss[at] = src_strides[d], os[at] = stride;
  }
  /* Neighbouring dimensions that are one run on both sides become one. */
  int last = 0;
  for (int d = 1; d < dims; d++) {
    if (ds[last] == ds[d] * n[d] && ss[last] == ss[d] * n[d]) {
      n[last] *= n[d], ds[last] = ds[d], ss[last] = ss[d];
    } else {
      last++;
      n[last] = n[d], ds[last] = ds[d], ss[last] = ss[d];
    }
  }
  if (dims == 0) {
    memcpy(dest, src, (size_t)itemsize);
    return;
  }
  int64_t k[CAT_MAX_DIM] = {0};
  for (;;) {
    copy_row(dest, ds[last], src, ss[last], n[last], itemsize);
    int d = last - 1;
    for (; d >= 0; d--) {
      dest += ds[d], src += ss[d];
      if (++k[d] < n[d]) {
        break;
      }
      dest -= ds[d] * n[d], src -= ss[d] * n[d];
      k[d] = 0;
    }
    if (d < 0) {
      return;
    }
  }
}

/* --- a box, block by block --------------------------------------------------------------------- */

/* The part of the box that lies in one block. */
typedef struct {
  int64_t number;               /* of the block in its chunk */
  int64_t count[CAT_MAX_DIM];   /* items */
  int64_t strides[CAT_MAX_DIM]; /* bytes between the wanted items in the block */
  int64_t src;                  /* bytes from the block's start to the first of them */
  int64_t dest;                 /* bytes from the destination's start */
  int whole;                    /* every item of the block is wanted */
} part;

/* The wanted items of block `b` along dimension `d`: the k-th to the (k+count)-th of the box. */
static int64_t wanted(const geometry *g, const cat_box *box, int d, int64_t b, int64_t *k) {
  int64_t from = b * g->block[d] - box->start[d], step = box->step[d];
  int64_t first = from <= 0 ? 0 : (from + step - 1) / step;
  int64_t end = from + g->block[d] <= 0 ? 0 : (from + g->block[d] - 1) / step + 1;
  if (end > box->count[d]) {
    end = box->count[d];
  }
  *k = first;
  return end > first ? end - first : 0;
}

static int check_box(const geometry *g, const cat_grid *grid, const cat_box *box) {
  for (int d = 0; d < g->ndim; d++) {
    if (box->start[d] < 0 || box->count[d] < 0 || box->step[d] < 1 ||
        (box->count[d] > 0 &&
         (box->start[d] >= grid->chunk[d] ||
          box->count[d] - 1 > (grid->chunk[d] - 1 - box->start[d]) / box->step[d]))) {
      return CAT_ERROR_GEOMETRY;
    }
  }
  return 0;
}

static void find_part(const geometry *g, const cat_box *box, const int64_t *strides,
                      const int64_t *at, part *p) {
  p->number = p->src = p->dest = 0;
  p->whole = 1;
  for (int d = 0; d < g->ndim; d++) {
    int64_t k;
    p->number = p->number * g->grid[d] + at[d];
    p->count[d] = wanted(g, box, d, at[d], &k);
    p->strides[d] = g->block_strides[d] * box->step[d];
    p->src += (box->start[d] + k * box->step[d] - at[d] * g->block[d]) * g->block_strides[d];
    p->dest += k * strides[d];
    p->whole &= p->count[d] == g->block[d];
  }
}

/* Move `at` to the next block that holds a wanted item; false after the last one. */
static int next_block(const geometry *g, const cat_box *box, int64_t *at) {
  int64_t k;
  for (int d = g->ndim - 1; d >= 0; d--) {
    int64_t last = (box->start[d] + (box->count[d] - 1) * box->step[d]) / g->block[d];
    do {
      at[d]++;
    } while (at[d] <= last && wanted(g, box, d, at[d], &k) == 0);
    if (at[d] <= last) {
      return 1;
    }
    at[d] = box->start[d] / g->block[d];
  }
  return 0;
}

/* A block lies in the destination as it does in a block of its own. */
static int same_layout(const geometry *g, const int64_t *strides) {
  for (int d = 0; d < g->ndim; d++) {
    if (g->block[d] > 1 && strides[d] != g->block_strides[d]) {
      return 0;
    }
  }
  return 1;
}

/* --- what plugins want to know ------------------------------------------------------------------ */

/* zfp, ndlz, ndcell, ndmean and bytedelta ask the super-chunk for its "b2nd" metalayer. */
typedef struct {
  blosc2_schunk schunk;
  blosc2_metalayer metalayer;
  char name[sizeof("b2nd")];
  int64_t blockshape[CAT_MAX_DIM];
} plugin_context;

static int init_plugin_context(plugin_context *plugin, const cat_grid *grid) {
  memset(plugin, 0, sizeof *plugin);
  int64_t shape[CAT_MAX_DIM];
  int32_t chunk[CAT_MAX_DIM], block[CAT_MAX_DIM];
  for (int d = 0; d < grid->ndim; d++) {
    shape[d] = chunk[d] = (int32_t)grid->chunk[d];
    block[d] = (int32_t)grid->block[d];
    plugin->blockshape[d] = grid->block[d];
  }
  uint8_t *content = NULL;
  int size = b2nd_serialize_meta((int8_t)grid->ndim, shape, chunk, block, "", 0, &content);
  if (size < 0) {
    return CAT_ERROR_MEMORY;
  }
  memcpy(plugin->name, "b2nd", sizeof plugin->name);
  plugin->metalayer = (blosc2_metalayer){.name = plugin->name, .content = content, .content_len = size};
  plugin->schunk.typesize = grid->itemsize;
  plugin->schunk.ndim = (int8_t)grid->ndim;
  plugin->schunk.blockshape = plugin->blockshape;
  plugin->schunk.metalayers[0] = &plugin->metalayer;
  plugin->schunk.nmetalayers = 1;
  return 0;
}

static void free_plugin_context(plugin_context *plugin) { free(plugin->metalayer.content); }

/* Registered codecs beyond these would load a shared library, or start a process to find one. */
static int codec_is_known(int codec) {
  switch (codec) {
    case BLOSC_BLOSCLZ: case BLOSC_LZ4: case BLOSC_LZ4HC: case BLOSC_ZLIB: case BLOSC_ZSTD:
    case BLOSC_CODEC_NDLZ: case BLOSC_CODEC_ZFP_FIXED_ACCURACY:
    case BLOSC_CODEC_ZFP_FIXED_PRECISION: case BLOSC_CODEC_ZFP_FIXED_RATE:
      return 1;
    default:
      return codec >= BLOSC2_USER_REGISTERED_CODECS_START;
  }
}

static int filters_are_known(const uint8_t *filters) {
  for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
    int filter = filters[i];
    if ((filter >= BLOSC_LAST_FILTER && filter < BLOSC2_GLOBAL_REGISTERED_FILTERS_START) ||
        (filter > BLOSC_LAST_REGISTERED_FILTER && filter < BLOSC2_USER_REGISTERED_FILTERS_START)) {
      return 0;
    }
  }
  return 1;
}

static int is_zfp(int codec) {
  return codec >= BLOSC_CODEC_ZFP_FIXED_ACCURACY && codec <= BLOSC_CODEC_ZFP_FIXED_RATE;
}

static int has_filter(const uint8_t *filters, int filter) {
  return memchr(filters, filter, BLOSC2_MAX_FILTERS) != NULL;
}

/* --- decoding ----------------------------------------------------------------------------------- */

typedef struct {
  geometry g;
  const cat_piece *pieces;
  int64_t npieces;
  const uint8_t *header;
  int32_t cbytes;
  int32_t body;           /* where the first block may begin: behind offsets and dictionary */
  int32_t *ends;          /* sorted offsets, where blocks are stored out of order and many are read */
  int in_order;
  uint8_t *scratch;       /* one block, decoded */
  uint8_t *whole;         /* the whole chunk, decoded, where its blocks cannot be decoded alone */
  uint8_t *mini;          /* the mini-chunk */
  int32_t mini_size;      /* its capacity */
  blosc2_context *dctx;
  plugin_context *plugin;
} decoder;

/* The chunk's bytes from `start` to `stop`, or NULL where no piece holds them. */
static const uint8_t *find_bytes(const decoder *dec, int64_t start, int64_t stop) {
  int64_t low = 0, high = dec->npieces;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (dec->pieces[middle].start <= start) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) {
    return NULL;
  }
  const cat_piece *piece = &dec->pieces[low - 1];
  return stop - piece->start <= piece->size ? piece->data + (start - piece->start) : NULL;
}

static int special_of(const uint8_t *header) {
  return header[BLOSC2_CHUNK_BLOSC2_FLAGS] >> 4 & BLOSC2_SPECIAL_MASK;
}

static int check_header(const decoder *dec) {
  const uint8_t *header = dec->header;
  int flags = header[BLOSC2_CHUNK_FLAGS], flags2 = header[BLOSC2_CHUNK_BLOSC2_FLAGS];
  if ((flags & EXTENDED) != EXTENDED || flags2 & (FLAG_LAZY | BLOSC2_INSTR_CODEC) ||
      header[BLOSC2_CHUNK_BLOSC2_FLAGS2] & BLOSC2_VL_BLOCKS ||
      special_of(header) > BLOSC2_SPECIAL_LASTID) {
    return CAT_ERROR_FLAGS;
  }
  if (load_int32(header + BLOSC2_CHUNK_NBYTES) != dec->g.nbytes || dec->cbytes < HEADER) {
    return CAT_ERROR_GEOMETRY;
  }
  if (special_of(header) != BLOSC2_NO_SPECIAL || flags & BLOSC_MEMCPYED) {
    return 0; /* no codec and no filter takes part */
  }
  int codec = flags >> 5;
  if (codec == BLOSC_UDCODEC_FORMAT) {
    codec = header[UDCODEC];
    if (codec <= BLOSC2_DEFINED_CODECS_STOP || !codec_is_known(codec) ||
        (is_zfp(codec) && dec->g.ndim > 4)) {
      return CAT_ERROR_CODEC;
    }
  } else if (codec != BLOSC_BLOSCLZ_FORMAT && codec != BLOSC_LZ4_FORMAT &&
             codec != BLOSC_ZLIB_FORMAT && codec != BLOSC_ZSTD_FORMAT) {
    return CAT_ERROR_CODEC;
  }
  return filters_are_known(header + BLOSC2_CHUNK_FILTER_CODES) ? 0 : CAT_ERROR_FILTER;
}

static int uses_plugins(const uint8_t *header) {
  if (header[BLOSC2_CHUNK_FLAGS] >> 5 == BLOSC_UDCODEC_FORMAT) {
    return 1;
  }
  for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
    if (header[BLOSC2_CHUNK_FILTER_CODES + i] >= BLOSC_LAST_FILTER) {
      return 1;
    }
  }
  return 0;
}

static int32_t offset_of(const decoder *dec, int64_t block) {
  return load_int32(dec->header + HEADER + OFFSET * block);
}

/* Find where the blocks begin, and whether each ends where the next one begins. */
static int read_offsets(decoder *dec) {
  int64_t body = HEADER + OFFSET * dec->g.nblocks;
  if (body > dec->cbytes || find_bytes(dec, 0, body) == NULL) {
    return CAT_ERROR_TRUNCATED;
  }
  if (dec->header[BLOSC2_CHUNK_BLOSC2_FLAGS] & BLOSC2_USEDICT) {
    if (body + OFFSET > dec->cbytes || find_bytes(dec, 0, body + OFFSET) == NULL) {
      return CAT_ERROR_TRUNCATED;
    }
    int64_t size = load_int32(dec->header + body);
    body += OFFSET + size;
    if (size < 0 || body > dec->cbytes || find_bytes(dec, 0, body) == NULL) {
      return CAT_ERROR_TRUNCATED;
    }
  }
  dec->body = (int32_t)body;
  dec->in_order = 1;
  for (int64_t b = 1; b < dec->g.nblocks && dec->in_order; b++) {
    dec->in_order = offset_of(dec, b - 1) < offset_of(dec, b);
  }
  return 0;
}

static int compare_int32(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

/* A block ends at the next larger offset. */
static int32_t end_of(decoder *dec, int64_t block) {
  if (dec->in_order) {
    return block + 1 < dec->g.nblocks ? offset_of(dec, block + 1) : dec->cbytes;
  }
  int32_t start = offset_of(dec, block), end = dec->cbytes;
  if (dec->ends != NULL) {
    int64_t low = 0, high = dec->g.nblocks;
    while (low < high) {
      int64_t middle = low + (high - low) / 2;
      if (dec->ends[middle] <= start) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low < dec->g.nblocks ? dec->ends[low] : end;
  }
  for (int64_t b = 0; b < dec->g.nblocks; b++) {
    int32_t other = offset_of(dec, b);
    if (other > start && other < end) {
      end = other;
    }
  }
  return end;
}

static int sort_offsets(decoder *dec) {
  dec->ends = malloc((size_t)dec->g.nblocks * sizeof *dec->ends);
  if (dec->ends == NULL) {
    return CAT_ERROR_MEMORY;
  }
  for (int64_t b = 0; b < dec->g.nblocks; b++) {
    dec->ends[b] = offset_of(dec, b);
  }
  qsort(dec->ends, (size_t)dec->g.nblocks, sizeof *dec->ends, compare_int32);
  return 0;
}

/* Decode one block as a chunk of its own into `dest`. */
static int decode_block(decoder *dec, int64_t block, uint8_t *dest) {
  int32_t start = offset_of(dec, block), end = end_of(dec, block);
  if (start < dec->body || start >= dec->cbytes || end > dec->cbytes || end <= start) {
    return CAT_ERROR_OFFSET;
  }
  const uint8_t *bytes = find_bytes(dec, start, end);
  if (bytes == NULL) {
    return CAT_ERROR_MISSING;
  }
  int64_t dictionary = dec->body - (HEADER + OFFSET * dec->g.nblocks);
  int64_t prefix = HEADER + OFFSET + dictionary, size = prefix + (end - start);
  if (size > INT32_MAX) {
    return CAT_ERROR_OFFSET;
  }
  if (size > dec->mini_size) {
    free(dec->mini);
    dec->mini = malloc((size_t)size);
    dec->mini_size = dec->mini == NULL ? 0 : (int32_t)size;
    if (dec->mini == NULL) {
      return CAT_ERROR_MEMORY;
    }
    memcpy(dec->mini, dec->header, HEADER);
    store_int32(dec->mini + BLOSC2_CHUNK_NBYTES, dec->g.blocksize);
    store_int32(dec->mini + HEADER, (int32_t)prefix);
    memcpy(dec->mini + HEADER + OFFSET, dec->header + HEADER + OFFSET * dec->g.nblocks,
           (size_t)dictionary);
  }
  store_int32(dec->mini + BLOSC2_CHUNK_CBYTES, (int32_t)size);
  memcpy(dec->mini + prefix, bytes, (size_t)(end - start));
  int decoded = blosc2_decompress_ctx(dec->dctx, dec->mini, (int32_t)size, dest, dec->g.blocksize);
  return decoded == dec->g.blocksize ? 0 : CAT_ERROR_BLOCK;
}

/* Decode the whole chunk at once: DELTA refers to the first block, and blocks of another size than
 * the grid's say nothing about where an item is. */
static int decode_whole(decoder *dec) {
  const uint8_t *bytes = find_bytes(dec, 0, dec->cbytes);
  if (bytes == NULL) {
    return CAT_ERROR_MISSING;
  }
  dec->whole = malloc((size_t)dec->g.nbytes);
  if (dec->whole == NULL) {
    return CAT_ERROR_MEMORY;
  }
  int decoded = blosc2_decompress_ctx(dec->dctx, bytes, dec->cbytes, dec->whole, dec->g.nbytes);
  return decoded == dec->g.nbytes ? 0 : CAT_ERROR_BLOCK;
}

static int init_dctx(decoder *dec, const cat_grid *grid) {
  blosc2_dparams dparams = BLOSC2_DPARAMS_DEFAULTS;
  dparams.nthreads = 1;
  if (uses_plugins(dec->header)) {
    dec->plugin = malloc(sizeof *dec->plugin);
    if (dec->plugin == NULL) {
      return CAT_ERROR_MEMORY;
    }
    int error = init_plugin_context(dec->plugin, grid);
    if (error) {
      return error;
    }
    dparams.schunk = &dec->plugin->schunk;
  }
  dec->dctx = blosc2_create_dctx(dparams);
  return dec->dctx == NULL ? CAT_ERROR_MEMORY : 0;
}

/* A chunk in which every item is the same. */
static int fill_special(const decoder *dec, const cat_box *box, uint8_t *dest,
                        const int64_t *strides) {
  static const int64_t still[CAT_MAX_DIM] = {0};
  const uint8_t *value;
  uint8_t *made = calloc(1, (size_t)dec->g.itemsize);
  if (made == NULL) {
    return CAT_ERROR_MEMORY;
  }
  value = made;
  int error = 0;
  switch (special_of(dec->header)) {
    case BLOSC2_SPECIAL_NAN:
      if (dec->g.itemsize == (int32_t)sizeof(float)) {
        memcpy(made, &(float){NAN}, sizeof(float));
      } else if (dec->g.itemsize == (int32_t)sizeof(double)) {
        memcpy(made, &(double){NAN}, sizeof(double));
      } else {
        error = CAT_ERROR_GEOMETRY;
      }
      break;
    case BLOSC2_SPECIAL_VALUE:
      if (dec->cbytes - HEADER != dec->g.itemsize) {
        error = CAT_ERROR_GEOMETRY;
      } else if ((value = find_bytes(dec, 0, dec->cbytes)) == NULL) {
        error = CAT_ERROR_MISSING;
      } else {
        value += HEADER;
      }
      break;
    default: /* zeros, and what was never written */
      break;
  }
  if (!error) {
    copy_items(dest, strides, value, still, box->count, dec->g.ndim, dec->g.itemsize, strides);
  }
  free(made);
  return error;
}

static int decode_parts(decoder *dec, const cat_box *box, uint8_t *dest, const int64_t *strides,
                        int64_t *where) {
  const geometry *g = &dec->g;
  int plain = dec->header[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED;
  int direct = same_layout(g, strides);
  int64_t at[CAT_MAX_DIM];
  for (int d = 0; d < g->ndim; d++) {
    at[d] = box->start[d] / g->block[d];
  }
  do {
    part p;
    find_part(g, box, strides, at, &p);
    *where = p.number;
    const uint8_t *block = dec->scratch;
    if (dec->whole != NULL) {
      block = dec->whole + p.number * g->blocksize;
    } else if (plain) {
      int64_t start = HEADER + p.number * g->blocksize;
      block = find_bytes(dec, start, start + g->blocksize);
      if (block == NULL) {
        return CAT_ERROR_MISSING;
      }
    } else {
      int into_dest = direct && p.whole;
      int error = decode_block(dec, p.number, into_dest ? dest + p.dest : dec->scratch);
      if (error) {
        return error;
      }
      if (into_dest) {
        continue;
      }
    }
    copy_items(dest + p.dest, strides, block + p.src, p.strides, p.count, g->ndim, g->itemsize,
               strides);
  } while (next_block(g, box, at));
  return 0;
}

/* How many blocks the box touches, at most. */
static int64_t count_blocks(const geometry *g, const cat_box *box) {
  int64_t n = 1;
  for (int d = 0; d < g->ndim; d++) {
    int64_t last = box->start[d] + (box->count[d] - 1) * box->step[d];
    n *= last / g->block[d] - box->start[d] / g->block[d] + 1;
  }
  return n;
}

static int decode_chunk(decoder *dec, const cat_grid *grid, const cat_box *box, uint8_t *dest,
                        const int64_t *strides, int64_t *where) {
  if (dec->npieces < 1 || dec->pieces[0].start != 0 || dec->pieces[0].size < HEADER) {
    return CAT_ERROR_TRUNCATED;
  }
  dec->header = dec->pieces[0].data;
  dec->cbytes = load_int32(dec->header + BLOSC2_CHUNK_CBYTES);
  int error = check_header(dec);
  if (error) {
    return error;
  }
  if (special_of(dec->header) != BLOSC2_NO_SPECIAL) {
    return fill_special(dec, box, dest, strides);
  }
  if (dec->header[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED) {
    if (dec->cbytes != (int64_t)HEADER + dec->g.nbytes) {
      return CAT_ERROR_GEOMETRY;
    }
    return decode_parts(dec, box, dest, strides, where);
  }
  if ((error = init_dctx(dec, grid))) {
    return error;
  }
  if (load_int32(dec->header + BLOSC2_CHUNK_BLOCKSIZE) != dec->g.blocksize ||
      has_filter(dec->header + BLOSC2_CHUNK_FILTER_CODES, BLOSC_DELTA)) {
    error = decode_whole(dec);
  } else {
    int64_t touched = count_blocks(&dec->g, box);
    error = read_offsets(dec);
    if (!error && !dec->in_order && touched > 16) {
      error = sort_offsets(dec);
    }
    if (!error && (dec->scratch = malloc((size_t)dec->g.blocksize)) == NULL) {
      error = CAT_ERROR_MEMORY;
    }
  }
  return error ? error : decode_parts(dec, box, dest, strides, where);
}

int cat_decode(const cat_grid *grid, const cat_piece *pieces, int64_t npieces, const cat_box *box,
               uint8_t *dest, const int64_t *strides, int64_t *where) {
  decoder dec = {.pieces = pieces, .npieces = npieces};
  *where = -1;
  int error = find_geometry(grid, &dec.g);
  if (!error) {
    error = check_box(&dec.g, grid, box);
  }
  for (int d = 0; !error && d < dec.g.ndim; d++) {
    if (box->count[d] == 0) {
      return 0;
    }
  }
  if (!error) {
    error = decode_chunk(&dec, grid, box, dest, strides, where);
  }
  if (dec.dctx != NULL) {
    blosc2_free_ctx(dec.dctx);
  }
  if (dec.plugin != NULL) {
    free_plugin_context(dec.plugin);
    free(dec.plugin);
  }
  free(dec.ends);
  free(dec.scratch);
  free(dec.whole);
  free(dec.mini);
  return error;
}

/* --- encoding ----------------------------------------------------------------------------------- */

typedef struct {
  geometry g;
  const uint8_t *src;
  const int64_t *strides;
  const int64_t *extent;
  const cat_compression *compression;
  blosc2_context *cctx;
  plugin_context *plugin;
} encoder;

/* The bytes of a mini-chunk that is never stored plain: each stream may be stored as it is. */
static int64_t mini_bound(const geometry *g) {
  int64_t streams = g->itemsize <= BLOSC_MAX_TYPESIZE ? g->itemsize : 1;
  return HEADER + OFFSET + OFFSET * streams + g->blocksize + BLOSC2_MAX_OVERHEAD;
}

/* Copy block `at` from the source into `dest`, in block order, with zeros beyond the extent. */
static void gather_block(const encoder *enc, const int64_t *at, uint8_t *dest) {
  const geometry *g = &enc->g;
  int64_t count[CAT_MAX_DIM], from = 0;
  int whole = 1;
  for (int d = 0; d < g->ndim; d++) {
    int64_t start = at[d] * g->block[d], left = enc->extent[d] - start;
    count[d] = left < 0 ? 0 : left < g->block[d] ? left : g->block[d];
    whole &= count[d] == g->block[d];
    from += start * enc->strides[d];
  }
  if (!whole) {
    memset(dest, 0, (size_t)g->blocksize);
  }
  for (int d = 0; d < g->ndim; d++) {
    if (count[d] == 0) {
      return;
    }
  }
  copy_items(dest, g->block_strides, enc->src + from, enc->strides, count, g->ndim, g->itemsize,
             enc->strides);
}

static int advance(const geometry *g, int64_t *at) {
  for (int d = g->ndim - 1; d >= 0; d--) {
    if (++at[d] < g->grid[d]) {
      return 1;
    }
    at[d] = 0;
  }
  return 0;
}

static void gather_chunk(const encoder *enc, uint8_t *dest) {
  int64_t at[CAT_MAX_DIM] = {0};
  do {
    gather_block(enc, at, dest);
    dest += enc->g.blocksize;
  } while (advance(&enc->g, at));
}

static int init_cctx(encoder *enc, const cat_grid *grid) {
  const cat_compression *given = enc->compression;
  if (!codec_is_known(given->codec) || (is_zfp(given->codec) && grid->ndim > 4)) {
    return CAT_ERROR_CODEC;
  }
  if (!filters_are_known(given->filters)) {
    return CAT_ERROR_FILTER;
  }
  blosc2_cparams cparams = BLOSC2_CPARAMS_DEFAULTS;
  cparams.compcode = given->codec;
  cparams.compcode_meta = given->codec_meta;
  cparams.clevel = given->clevel;
  cparams.use_dict = given->use_dict;
  cparams.splitmode = given->splitmode;
  cparams.typesize = grid->itemsize <= BLOSC_MAX_TYPESIZE ? grid->itemsize : 1;
  cparams.blocksize = enc->g.blocksize;
  cparams.nthreads = 1;
  memcpy(cparams.filters, given->filters, BLOSC2_MAX_FILTERS);
  memcpy(cparams.filters_meta, given->filters_meta, BLOSC2_MAX_FILTERS);
  if ((enc->plugin = malloc(sizeof *enc->plugin)) == NULL) {
    return CAT_ERROR_MEMORY;
  }
  int error = init_plugin_context(enc->plugin, grid);
  if (error) {
    return error;
  }
  enc->plugin->schunk.compcode = given->codec;
  enc->plugin->schunk.compcode_meta = given->codec_meta;
  cparams.schunk = &enc->plugin->schunk;
  enc->cctx = blosc2_create_cctx(cparams);
  return enc->cctx == NULL ? CAT_ERROR_CODEC : 0;
}

/* Store the chunk as it is, behind the header of a chunk with these parameters. */
static int64_t store_plain(const encoder *enc, uint8_t *dest, int64_t destsize) {
  int64_t cbytes = HEADER + (int64_t)enc->g.nbytes;
  if (cbytes > destsize) {
    return CAT_ERROR_TRUNCATED;
  }
  dest[BLOSC2_CHUNK_FLAGS] |= BLOSC_MEMCPYED;
  dest[BLOSC2_CHUNK_BLOSC2_FLAGS] &= (uint8_t) ~(BLOSC2_SPECIAL_MASK << 4);
  store_int32(dest + BLOSC2_CHUNK_NBYTES, enc->g.nbytes);
  store_int32(dest + BLOSC2_CHUNK_BLOCKSIZE, enc->g.blocksize);
  store_int32(dest + BLOSC2_CHUNK_CBYTES, (int32_t)cbytes);
  gather_chunk(enc, dest + HEADER);
  return cbytes;
}

/* Compress the chunk in one call: DELTA and dictionaries span blocks, and C-Blosc2 stores buffers
 * under 32 bytes plain. */
static int64_t encode_whole(const encoder *enc, uint8_t *dest, int64_t destsize) {
  uint8_t *chunk = malloc((size_t)enc->g.nbytes);
  if (chunk == NULL) {
    return CAT_ERROR_MEMORY;
  }
  gather_chunk(enc, chunk);
  int64_t limit = destsize < INT32_MAX ? destsize : INT32_MAX;
  if (limit > HEADER + (int64_t)enc->g.nbytes) {
    limit = HEADER + (int64_t)enc->g.nbytes;
  }
  int64_t cbytes = blosc2_compress_ctx(enc->cctx, chunk, enc->g.nbytes, dest, (int32_t)limit);
  free(chunk);
  if (cbytes > 0 && dest[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED) {
    /* With several filters C-Blosc2 works in its source, and would store what they left there. */
    gather_chunk(enc, dest + HEADER);
  }
  return cbytes == 0 ? CAT_ERROR_TRUNCATED : cbytes;
}

static int64_t encode_blocks(const encoder *enc, uint8_t *dest, int64_t destsize, int64_t *where) {
  const geometry *g = &enc->g;
  int64_t bound = mini_bound(g), limit = HEADER + (int64_t)g->nbytes;
  if (destsize < limit) {
    return CAT_ERROR_TRUNCATED;
  }
  uint8_t *block = malloc((size_t)g->blocksize + (size_t)bound);
  if (block == NULL || bound > INT32_MAX) {
    free(block);
    return CAT_ERROR_MEMORY;
  }
  uint8_t *mini = block + g->blocksize;
  int64_t at[CAT_MAX_DIM] = {0}, written = HEADER + OFFSET * g->nblocks, result = 0;
  int zeros = 1;
  *where = 0;
  do {
    gather_block(enc, at, block);
    int cbytes = blosc2_compress_ctx(enc->cctx, block, g->blocksize, mini, (int32_t)bound);
    if (cbytes < HEADER) {
      result = cbytes < 0 ? cbytes : CAT_ERROR_BLOCK;
      break;
    }
    if (*where == 0) {
      memcpy(dest, mini, HEADER);
    }
    if (mini[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED) {
      result = store_plain(enc, dest, destsize);
      break;
    }
    int64_t size = cbytes - (HEADER + OFFSET);
    if (special_of(mini) == BLOSC2_SPECIAL_ZERO) {
      /* A chunk of zeros says so in its header; a block of zeros, with an empty size per stream. */
      int split = !(mini[BLOSC2_CHUNK_FLAGS] & FLAG_DONT_SPLIT);
      size = OFFSET * (int64_t)(split ? mini[BLOSC2_CHUNK_TYPESIZE] : 1);
      memset(mini + HEADER + OFFSET, 0, (size_t)size);
    } else {
      zeros = 0;
    }
    if (written + size > limit) {
      result = store_plain(enc, dest, destsize);
      break;
    }
    store_int32(dest + HEADER + OFFSET * *where, (int32_t)written);
    memcpy(dest + written, mini + HEADER + OFFSET, (size_t)size);
    written += size;
    ++*where;
  } while (advance(g, at));
  free(block);
  if (result) {
    return result;
  }
  dest[BLOSC2_CHUNK_BLOSC2_FLAGS] &= (uint8_t) ~(BLOSC2_SPECIAL_MASK << 4);
  if (zeros) {
    dest[BLOSC2_CHUNK_BLOSC2_FLAGS] |= BLOSC2_SPECIAL_ZERO << 4;
    written = HEADER;
  }
  store_int32(dest + BLOSC2_CHUNK_NBYTES, g->nbytes);
  store_int32(dest + BLOSC2_CHUNK_CBYTES, (int32_t)written);
  return written;
}

int64_t cat_encode_bound(const cat_grid *grid) {
  geometry g;
  int error = find_geometry(grid, &g);
  return error ? error : HEADER + (int64_t)g.nbytes;
}

int64_t cat_encode(const cat_grid *grid, const cat_compression *compression, const uint8_t *src,
                   const int64_t *strides, const int64_t *extent, uint8_t *dest, int64_t destsize,
                   int64_t *where) {
  encoder enc = {.src = src, .strides = strides, .extent = extent, .compression = compression};
  *where = -1;
  int64_t result = find_geometry(grid, &enc.g);
  for (int d = 0; !result && d < enc.g.ndim; d++) {
    if (extent[d] < 0 || extent[d] > grid->chunk[d]) {
      result = CAT_ERROR_GEOMETRY;
    }
  }
  if (!result) {
    result = init_cctx(&enc, grid);
  }
  if (!result) {
    int in_blocks = !compression->use_dict && !has_filter(compression->filters, BLOSC_DELTA) &&
                    enc.g.blocksize >= BLOSC_MIN_BUFFERSIZE && compression->clevel > 0 &&
                    HEADER + OFFSET * enc.g.nblocks <= HEADER + (int64_t)enc.g.nbytes;
    result = in_blocks ? encode_blocks(&enc, dest, destsize, where)
                       : encode_whole(&enc, dest, destsize);
  }
  if (enc.cctx != NULL) {
    blosc2_free_ctx(enc.cctx);
  }
  if (enc.plugin != NULL) {
    free_plugin_context(enc.plugin);
    free(enc.plugin);
  }
  return result;
}
