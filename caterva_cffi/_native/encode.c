#include <stdlib.h>
#include <string.h>

#include "chunk.h"
#include "geometry.h"
#include "kernel.h"
#include "threads.h"

enum { SLAB_BYTES = 256 * 1024 }; /* compressed by a task */

/* PLAIN: the block does not shrink, so that the chunk is stored as it is. */
enum kind { COMPRESSED, ZEROS, PLAIN };

typedef struct {
  int32_t size; /* bytes */
  enum kind kind;
} outcome;

typedef struct {
  const cat_grid *grid;
  geometry g;
  const uint8_t *src;
  const int64_t *strides;
  const int64_t *extent;
  const cat_compression *compression;
  uint8_t *dest;
  int64_t slab;   /* blocks of a task */
  int64_t nslabs;
  uint8_t **slabs; /* compressed blocks of each task; a single task writes them to their place */
  outcome *blocks;
  int64_t wrong; /* the block of an error */
} encoder;

static int64_t streams_of(const geometry *g) {
  return g->itemsize <= BLOSC_MAX_TYPESIZE ? g->itemsize : 1;
}

/* The bytes of a mini-chunk that is never stored plain: each stream may be stored as it is. */
static int64_t mini_bound(const geometry *g) {
  return HEADER + OFFSET + OFFSET * streams_of(g) + g->blocksize + BLOSC2_MAX_OVERHEAD;
}

/* Copy a block from the source, in block order, with zeros beyond the extent. */
static void gather_block(const encoder *enc, int64_t number, uint8_t *dest) {
  const geometry *g = &enc->g;
  int64_t count[CAT_MAX_DIM], from = 0;
  int whole = 1, empty = 0;
  for (int d = g->ndim - 1; d >= 0; d--) {
    int64_t start = number % g->blocks[d] * g->block[d], left = enc->extent[d] - start;
    number /= g->blocks[d];
    count[d] = left < 0 ? 0 : left < g->block[d] ? left : g->block[d];
    whole &= count[d] == g->block[d];
    empty |= count[d] == 0;
    from += left > 0 ? start * enc->strides[d] : 0;
  }
  if (!whole) {
    memset(dest, 0, (size_t)g->blocksize);
  }
  if (!empty) {
    copy_items(dest, g->block_strides, enc->src + from, enc->strides, count, g->ndim, g->itemsize,
               enc->strides);
  }
}

static void gather_chunk(const encoder *enc, uint8_t *dest) {
  for (int64_t b = 0; b < enc->g.nblocks; b++) {
    gather_block(enc, b, dest + b * enc->g.blocksize);
  }
}

/* What a thread has of its own. */
typedef struct {
  blosc2_context *context;
  plugin_context *plugin;
  uint8_t *block;  /* one block, gathered, and behind it the mini-chunk */
  uint8_t *packed; /* the compressed blocks of a task */
} scratch;

/* With three filters C-Blosc2 works in its source, to which dictionaries and DELTA refer; and DELTA
 * behind another filter does not decode to what it was. */
static int filters_spoil_source(const uint8_t *filters) {
  int active = 0, late_delta = 0;
  for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
    late_delta |= filters[i] == BLOSC_DELTA && active > 0;
    active += filters[i] != BLOSC_NOFILTER;
  }
  return active > 2 || late_delta;
}

static int init_context(const encoder *enc, scratch *own) {
  const cat_compression *given = enc->compression;
  blosc2_cparams cparams = BLOSC2_CPARAMS_DEFAULTS;
  cparams.compcode = given->codec;
  cparams.compcode_meta = given->codec_meta;
  cparams.clevel = given->clevel;
  cparams.use_dict = given->use_dict;
  if (filters_spoil_source(given->filters)) {
    cparams.use_dict = 0;
    cparams.clevel = has_filter(given->filters, BLOSC_DELTA) ? 0 : given->clevel;
  }
  cparams.splitmode = given->splitmode;
  cparams.typesize = enc->g.itemsize <= BLOSC_MAX_TYPESIZE ? enc->g.itemsize : 1;
  cparams.blocksize = enc->g.blocksize;
  cparams.nthreads = 1;
  memcpy(cparams.filters, given->filters, BLOSC2_MAX_FILTERS);
  memcpy(cparams.filters_meta, given->filters_meta, BLOSC2_MAX_FILTERS);
  if ((own->plugin = new_plugin_context(enc->grid)) == NULL) {
    return CAT_ERROR_MEMORY;
  }
  own->plugin->schunk.compcode = given->codec;
  own->plugin->schunk.compcode_meta = given->codec_meta;
  cparams.schunk = &own->plugin->schunk;
  own->context = blosc2_create_cctx(cparams);
  if (own->context == NULL) {
    return CAT_ERROR_CODEC;
  }
  /* BLOSC_* environment variables override what a context is given. */
  blosc2_cparams made;
  blosc2_ctx_get_cparams(own->context, &made);
  int same = made.typesize == cparams.typesize && made.blocksize == cparams.blocksize &&
             has_filter(made.filters, BLOSC_DELTA) <= has_filter(given->filters, BLOSC_DELTA);
  return same ? 0 : CAT_ERROR_ENVIRONMENT;
}

static void free_scratch(void *given) {
  scratch *own = given;
  if (own != NULL) {
    if (own->context != NULL) {
      blosc2_free_ctx(own->context);
    }
    free_plugin_context(own->plugin);
    free(own->block);
    free(own->packed);
    free(own);
  }
}

/* Store the chunk as it is, behind the header of a chunk with these parameters. */
static int64_t store_plain(const encoder *enc) {
  uint8_t *dest = enc->dest;
  int64_t cbytes = HEADER + (int64_t)enc->g.nbytes;
  dest[BLOSC2_CHUNK_FLAGS] |= BLOSC_MEMCPYED;
  store_int32(dest + BLOSC2_CHUNK_NBYTES, enc->g.nbytes);
  store_int32(dest + BLOSC2_CHUNK_BLOCKSIZE, enc->g.blocksize);
  store_int32(dest + BLOSC2_CHUNK_CBYTES, (int32_t)cbytes);
  gather_chunk(enc, dest + HEADER);
  return cbytes;
}

/* Compress the chunk in one call: DELTA and dictionaries span blocks, and C-Blosc2 stores buffers
 * under 32 bytes plain. */
static int64_t encode_whole(const encoder *enc) {
  scratch *own = calloc(1, sizeof *own);
  uint8_t *chunk = malloc((size_t)enc->g.nbytes);
  int64_t cbytes = own == NULL || chunk == NULL ? CAT_ERROR_MEMORY : init_context(enc, own);
  if (!cbytes) {
    gather_chunk(enc, chunk);
    int32_t limit = HEADER + enc->g.nbytes;
    cbytes = blosc2_compress_ctx(own->context, chunk, enc->g.nbytes, enc->dest, limit);
    if (cbytes == 0) {
      cbytes = CAT_ERROR_BLOCK;
    } else if (cbytes > 0 && enc->dest[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED) {
      /* With several filters C-Blosc2 works in its source, and would store what they left there. */
      gather_chunk(enc, enc->dest + HEADER);
    }
  }
  free(chunk);
  free_scratch(own);
  return cbytes;
}

static int init_scratch(const encoder *enc, scratch *own) {
  int64_t bound = mini_bound(&enc->g);
  own->block = malloc((size_t)(enc->g.blocksize + bound));
  own->packed = enc->nslabs > 1 ? malloc((size_t)(enc->slab * bound)) : NULL;
  if (own->block == NULL || (enc->nslabs > 1 && own->packed == NULL)) {
    return CAT_ERROR_MEMORY;
  }
  return init_context(enc, own);
}

/* Compress one block into the mini-chunk of a thread. */
static int encode_block(const encoder *enc, scratch *own, int64_t number, outcome *out) {
  const geometry *g = &enc->g;
  uint8_t *mini = own->block + g->blocksize;
  gather_block(enc, number, own->block);
  int cbytes = blosc2_compress_ctx(own->context, own->block, g->blocksize, mini,
                                   (int32_t)mini_bound(g));
  if (cbytes < HEADER) {
    return cbytes < 0 ? cbytes : CAT_ERROR_BLOCK;
  }
  if (number == 0) {
    memcpy(enc->dest, mini, HEADER);
  }
  if (mini[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED) {
    *out = (outcome){0, PLAIN};
  } else if (special_of(mini) == BLOSC2_SPECIAL_ZERO) {
    /* A chunk of zeros says so in its header; a block of zeros, with an empty size per stream. */
    int split = !(mini[BLOSC2_CHUNK_FLAGS] & FLAG_DONT_SPLIT);
    *out = (outcome){(int32_t)(OFFSET * (split ? streams_of(g) : 1)), ZEROS};
    memset(mini + HEADER + OFFSET, 0, (size_t)out->size);
  } else {
    *out = (outcome){cbytes - (HEADER + OFFSET), COMPRESSED};
  }
  return 0;
}

/* Compress a run of blocks, one behind the other. */
static int encode_slab(void *state, void **thread, int64_t number) {
  encoder *enc = state;
  const geometry *g = &enc->g;
  scratch *own = *thread;
  int error = 0;
  if (own == NULL) {
    *thread = own = calloc(1, sizeof *own);
    error = own == NULL ? CAT_ERROR_MEMORY : init_scratch(enc, own);
  }
  int64_t body = HEADER + OFFSET * g->nblocks, size = 0;
  int64_t room = enc->nslabs > 1 ? enc->slab * mini_bound(g) : HEADER + g->nbytes - body;
  uint8_t *packed = error ? NULL : enc->nslabs > 1 ? own->packed : enc->dest + body;
  int64_t stop = (number + 1) * enc->slab;
  for (int64_t b = number * enc->slab; !error && b < stop && b < g->nblocks; b++) {
    outcome *out = &enc->blocks[b];
    error = encode_block(enc, own, b, out);
    if (error) {
      enc->wrong = b;
    } else if (size + out->size > room) {
      *out = (outcome){0, PLAIN};
    } else {
      memcpy(packed + size, own->block + g->blocksize + HEADER + OFFSET, (size_t)out->size);
      size += out->size;
    }
    if (!error && out->kind == PLAIN) {
      break; /* the whole chunk is stored plain then */
    }
  }
  if (!error && enc->nslabs > 1) {
    uint8_t *kept = malloc((size_t)(size ? size : 1));
    if (kept == NULL) {
      return CAT_ERROR_MEMORY;
    }
    memcpy(kept, packed, (size_t)size);
    enc->slabs[number] = kept;
  }
  return error;
}

/* Put the compressed blocks together, in order, and write offsets and header. */
static int64_t assemble(const encoder *enc) {
  const geometry *g = &enc->g;
  uint8_t *dest = enc->dest;
  int64_t body = HEADER + OFFSET * g->nblocks, cbytes = body;
  int zeros = 1, plain = 0;
  for (int64_t b = 0; b < g->nblocks; b++) {
    zeros &= enc->blocks[b].kind == ZEROS;
    plain |= enc->blocks[b].kind == PLAIN;
    cbytes += enc->blocks[b].size;
  }
  dest[BLOSC2_CHUNK_BLOSC2_FLAGS] &= (uint8_t) ~(BLOSC2_SPECIAL_MASK << 4);
  if (plain || cbytes > HEADER + (int64_t)g->nbytes) {
    return store_plain(enc);
  }
  if (zeros) {
    dest[BLOSC2_CHUNK_BLOSC2_FLAGS] |= BLOSC2_SPECIAL_ZERO << 4;
    cbytes = HEADER;
  } else {
    int64_t at = body;
    for (int64_t b = 0; b < g->nblocks; b++) {
      store_int32(dest + HEADER + OFFSET * b, (int32_t)at);
      at += enc->blocks[b].size;
    }
    for (int64_t s = 0; enc->nslabs > 1 && s < enc->nslabs; s++) {
      int64_t start = load_int32(dest + HEADER + OFFSET * s * enc->slab);
      int64_t stop = s + 1 < enc->nslabs ? load_int32(dest + HEADER + OFFSET * (s + 1) * enc->slab)
                                         : cbytes;
      memcpy(dest + start, enc->slabs[s], (size_t)(stop - start));
    }
  }
  store_int32(dest + BLOSC2_CHUNK_NBYTES, g->nbytes);
  store_int32(dest + BLOSC2_CHUNK_CBYTES, (int32_t)cbytes);
  return cbytes;
}

int64_t cat_encode_bound(const cat_grid *grid) {
  geometry g;
  int error = find_geometry(grid, &g);
  /* C-Blosc2 writes offsets before it finds that there is no room: they can be larger than blocks. */
  int64_t offsets = error ? 0 : OFFSET * g.nblocks;
  return error ? error : HEADER + (g.nbytes > offsets ? g.nbytes : offsets);
}

int64_t cat_encode(const cat_grid *grid, const cat_compression *compression, const uint8_t *src,
                   const int64_t *strides, const int64_t *extent, uint8_t *dest, int64_t destsize,
                   int nthreads, cat_where *where) {
  encoder enc = {.grid = grid, .src = src, .strides = strides, .extent = extent,
                 .compression = compression, .dest = dest, .wrong = -1};
  *where = (cat_where){-1, -1};
  int64_t result = find_geometry(grid, &enc.g);
  for (int d = 0; !result && d < enc.g.ndim; d++) {
    if (extent[d] < 0 || extent[d] > grid->chunk[d]) {
      result = CAT_ERROR_GEOMETRY;
    }
  }
  if (result) {
    return result;
  }
  const geometry *g = &enc.g;
  if (!codec_is_known(compression->codec, g->ndim)) {
    return CAT_ERROR_CODEC;
  }
  if (!filters_are_known(compression->filters)) {
    return CAT_ERROR_FILTER;
  }
  if (destsize < cat_encode_bound(grid) || mini_bound(g) > INT32_MAX) {
    return CAT_ERROR_TRUNCATED;
  }
  if (compression->use_dict || compression->clevel == 0 || g->blocksize < BLOSC_MIN_BUFFERSIZE ||
      has_filter(compression->filters, BLOSC_DELTA)) {
    return encode_whole(&enc);
  }
  enc.slab = nthreads == 1 ? g->nblocks : SLAB_BYTES / g->blocksize + 1;
  enc.nslabs = (g->nblocks + enc.slab - 1) / enc.slab;
  enc.slabs = calloc((size_t)enc.nslabs, sizeof *enc.slabs);
  enc.blocks = calloc((size_t)g->nblocks, sizeof *enc.blocks);
  result = enc.slabs == NULL || enc.blocks == NULL ? CAT_ERROR_MEMORY : 0;
  if (!result) {
    result = cat_run(encode_slab, free_scratch, &enc, enc.nslabs, nthreads);
    where->block = enc.wrong;
  }
  if (!result) {
    result = assemble(&enc);
  }
  for (int64_t s = 0; enc.slabs != NULL && s < enc.nslabs; s++) {
    free(enc.slabs[s]);
  }
  free(enc.slabs);
  free(enc.blocks);
  return result;
}
