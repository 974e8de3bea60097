#include <stdlib.h>
#include <string.h>

#include <blosc2/filters-registry.h>

#include "chunk.h"
#include "geometry.h"
#include "kernel.h"
#include "offsets.h"
#include "threads.h"

enum { SLAB_BYTES = 256 * 1024 }; /* compressed by a task */

/* PLAIN: the block does not shrink, so that the chunk is stored as it is. */
enum kind { COMPRESSED, ZEROS, PLAIN };

typedef struct {
  const uint8_t *bytes;
  int32_t size;
  enum kind kind;
} outcome;

/* What a change of a chunk begins with. */
typedef struct {
  const uint8_t *chunk; /* as it was */
  int32_t cbytes;
  const cat_box *box;
  int64_t along[CAT_MAX_DIM];
} change;

typedef struct {
  const cat_grid *grid;
  geometry g;
  const uint8_t *src;
  const int64_t *strides;
  const int64_t *extent;
  const cat_compression *compression;
  const change *change; /* or NULL for a new chunk */
  uint8_t *dest;
  int64_t todo;         /* blocks to compress */
  int64_t slab;         /* of a task */
  int64_t nslabs;
  uint8_t **slabs;      /* compressed blocks of each task, if they are not in place at once */
  outcome *blocks;      /* of the chunk */
} encoder;

static int64_t streams_of(const geometry *g) {
  return g->itemsize <= BLOSC_MAX_TYPESIZE ? g->itemsize : 1;
}

/* A chunk of zeros says so in its header; a block of zeros, with an empty size for each stream. */
static int32_t zero_size(const geometry *g, const uint8_t *header) {
  int split = !(header[BLOSC2_CHUNK_FLAGS] & FLAG_DONT_SPLIT);
  return (int32_t)(OFFSET * (split ? streams_of(g) : 1));
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
  int64_t *done;   /* their numbers */
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
    free(own->done);
    free(own);
  }
}

/* Store the chunk as it is, behind the header of a chunk with these parameters. */
static int64_t store_plain(const encoder *enc) {
  uint8_t *dest = enc->dest;
  int64_t cbytes = HEADER + (int64_t)enc->g.nbytes;
  dest[BLOSC2_CHUNK_FLAGS] |= BLOSC_MEMCPYED;
  dest[BLOSC2_CHUNK_BLOSC2_FLAGS] &= (uint8_t) ~(BLOSC2_SPECIAL_MASK << 4); /* of its first block */
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
      /* With several filters C-Blosc2 works in its source, and would store what they left there;
       * after it gave up a dictionary, its size may be wrong. */
      cbytes = store_plain(enc);
    }
  }
  free(chunk);
  free_scratch(own);
  return cbytes;
}

static int init_scratch(const encoder *enc, scratch *own) {
  int64_t bound = mini_bound(&enc->g);
  int in_place = enc->nslabs == 1 && enc->change == NULL;
  own->block = malloc((size_t)(enc->g.blocksize + bound));
  own->packed = in_place ? NULL : malloc((size_t)(enc->slab * bound));
  own->done = malloc((size_t)enc->slab * sizeof *own->done);
  if (own->block == NULL || own->done == NULL || (!in_place && own->packed == NULL)) {
    return CAT_ERROR_MEMORY;
  }
  return init_context(enc, own);
}

/* Read the block that holds the index-th part of a change, and lay the part into it. */
static int change_block(const encoder *enc, int64_t index, uint8_t *block, int64_t *number) {
  static const int64_t every[CAT_MAX_DIM] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const geometry *g = &enc->g;
  const change *c = enc->change;
  block_part p;
  find_block(g, c->box, c->along, index, enc->strides, &p);
  *number = p.number;
  int error = 0;
  if (!p.whole) {
    cat_piece piece = {0, c->cbytes, c->chunk};
    cat_part part = {.pieces = &piece, .npieces = 1, .dest = block};
    int64_t rest = p.number;
    for (int d = g->ndim - 1; d >= 0; d--) {
      int64_t start = rest % g->blocks[d] * g->block[d], left = g->chunk[d] - start;
      rest /= g->blocks[d];
      part.box.start[d] = start;
      part.box.count[d] = left < g->block[d] ? left : g->block[d];
      part.box.step[d] = every[d];
    }
    cat_where where;
    memset(block, 0, (size_t)g->blocksize);
    error = cat_decode(enc->grid, &part, 1, g->block_strides, 1, &where);
  }
  if (!error) {
    copy_items(block + p.src, p.strides, enc->src + p.dest, enc->strides, p.count, g->ndim,
               g->itemsize, enc->strides);
  }
  return error;
}

/* Compress one block into the mini-chunk of a thread. */
static int encode_block(const encoder *enc, scratch *own, int64_t index, int64_t *number,
                        outcome *out) {
  const geometry *g = &enc->g;
  uint8_t *mini = own->block + g->blocksize;
  *number = index;
  if (enc->change != NULL) {
    int error = change_block(enc, index, own->block, number);
    if (error) {
      return error;
    }
  } else {
    gather_block(enc, index, own->block);
  }
  int cbytes = blosc2_compress_ctx(own->context, own->block, g->blocksize, mini,
                                   (int32_t)mini_bound(g));
  if (cbytes < HEADER) {
    return cbytes < 0 ? cbytes : CAT_ERROR_BLOCK;
  }
  if (index == 0) {
    memcpy(enc->dest, mini, HEADER);
  }
  if (mini[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED) {
    *out = (outcome){NULL, 0, PLAIN};
  } else if (special_of(mini) == BLOSC2_SPECIAL_ZERO) {
    *out = (outcome){NULL, zero_size(g, mini), ZEROS};
    memset(mini + HEADER + OFFSET, 0, (size_t)out->size);
  } else {
    *out = (outcome){NULL, cbytes - (HEADER + OFFSET), COMPRESSED};
  }
  return 0;
}

/* Compress a run of blocks, one behind the other. */
static int encode_slab(void *state, void **thread, int64_t number, cat_where *where) {
  encoder *enc = state;
  const geometry *g = &enc->g;
  scratch *own = *thread;
  int in_place = enc->nslabs == 1 && enc->change == NULL;
  if (own == NULL) {
    *thread = own = calloc(1, sizeof *own);
    int error = own == NULL ? CAT_ERROR_MEMORY : init_scratch(enc, own);
    if (error) {
      return error;
    }
  }
  int64_t first = number * enc->slab, stop = first + enc->slab, size = 0;
  stop = stop < enc->todo ? stop : enc->todo;
  int64_t body = HEADER + OFFSET * g->nblocks;
  int64_t room = in_place ? HEADER + g->nbytes - body : enc->slab * mini_bound(g);
  uint8_t *packed = in_place ? enc->dest + body : own->packed;
  for (int64_t i = first; i < stop; i++) {
    outcome out = {NULL, 0, PLAIN};
    int64_t block;
    int error = encode_block(enc, own, i, &block, &out);
    if (error) {
      where->block = block;
      return error;
    }
    if (out.kind == PLAIN || size + out.size > room) {
      enc->blocks[block].kind = PLAIN;
      return 0; /* the whole chunk is stored plain then */
    }
    out.bytes = packed + size;
    memcpy(packed + size, own->block + g->blocksize + HEADER + OFFSET, (size_t)out.size);
    size += out.size;
    enc->blocks[block] = out;
    own->done[i - first] = block;
  }
  if (!in_place) {
    uint8_t *kept = malloc((size_t)(size ? size : 1));
    if (kept == NULL) {
      return CAT_ERROR_MEMORY;
    }
    memcpy(kept, packed, (size_t)size);
    for (int64_t i = 0; i < stop - first; i++) {
      outcome *out = &enc->blocks[own->done[i]];
      out->bytes = kept + (out->bytes - packed);
    }
    enc->slabs[number] = kept;
  }
  return 0;
}

/* Put the compressed blocks together, in order, and write offsets and header. Returns the chunk's
 * size, or 0 where it is to be stored plain. */
static int64_t assemble(const encoder *enc) {
  const geometry *g = &enc->g;
  uint8_t *dest = enc->dest;
  int64_t body = HEADER + OFFSET * g->nblocks, cbytes = body;
  int zeros = 1;
  for (int64_t b = 0; b < g->nblocks; b++) {
    if (enc->blocks[b].kind == PLAIN) {
      return 0;
    }
    zeros &= enc->blocks[b].kind == ZEROS;
    cbytes += enc->blocks[b].size;
  }
  if (cbytes > HEADER + (int64_t)g->nbytes) {
    return 0;
  }
  dest[BLOSC2_CHUNK_BLOSC2_FLAGS] &= (uint8_t) ~(BLOSC2_SPECIAL_MASK << 4);
  if (zeros) {
    dest[BLOSC2_CHUNK_BLOSC2_FLAGS] |= BLOSC2_SPECIAL_ZERO << 4;
    cbytes = HEADER;
  } else {
    int64_t at = body;
    for (int64_t b = 0; b < g->nblocks; b++) {
      const outcome *out = &enc->blocks[b];
      store_int32(dest + HEADER + OFFSET * b, (int32_t)at);
      if (out->bytes != dest + at) {
        memcpy(dest + at, out->bytes, (size_t)out->size);
      }
      at += out->size;
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

/* NDCELL fails where a block is shorter than its cells, and what NDMEAN makes of one never decodes. */
static int cells_fit(const encoder *enc) {
  for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
    int filter = enc->compression->filters[i], cell = enc->compression->filters_meta[i];
    if (filter == BLOSC_FILTER_NDCELL || filter == BLOSC_FILTER_NDMEAN) {
      for (int d = 0; d < enc->g.ndim; d++) {
        if (enc->g.block[d] < cell) {
          return 0;
        }
      }
    }
  }
  return 1;
}

static int check_arguments(encoder *enc, int64_t destsize) {
  int error = find_geometry(enc->grid, &enc->g);
  if (error) {
    return error;
  }
  if (!codec_is_known(enc->compression->codec, enc->g.ndim, enc->g.itemsize)) {
    return CAT_ERROR_CODEC;
  }
  if (!filters_are_known(enc->compression->filters) || !cells_fit(enc)) {
    return CAT_ERROR_FILTER;
  }
  if (destsize < cat_encode_bound(enc->grid) || mini_bound(&enc->g) > INT32_MAX) {
    return CAT_ERROR_TRUNCATED;
  }
  return 0;
}

/* Whether blocks can be compressed one by one. */
static int in_blocks(const encoder *enc) {
  const cat_compression *c = enc->compression;
  return !c->use_dict && c->clevel > 0 && enc->g.blocksize >= BLOSC_MIN_BUFFERSIZE &&
         !has_filter(c->filters, BLOSC_DELTA);
}

/* Compress the blocks that are to do. Returns 0 or an error code. */
static int encode_blocks(encoder *enc, int nthreads, cat_where *where) {
  int64_t slab = SLAB_BYTES / enc->g.blocksize + 1;
  enc->slab = nthreads == 1 && enc->change == NULL ? enc->todo : slab;
  enc->nslabs = (enc->todo + enc->slab - 1) / enc->slab;
  enc->slabs = calloc((size_t)enc->nslabs, sizeof *enc->slabs);
  return enc->slabs == NULL
             ? CAT_ERROR_MEMORY
             : cat_run(encode_slab, free_scratch, enc, enc->nslabs, nthreads, where);
}

static void free_slabs(encoder *enc) {
  for (int64_t s = 0; enc->slabs != NULL && s < enc->nslabs; s++) {
    free(enc->slabs[s]);
  }
  free(enc->slabs);
  free(enc->blocks);
}

int64_t cat_encode(const cat_grid *grid, const cat_compression *compression, const uint8_t *src,
                   const int64_t *strides, const int64_t *extent, uint8_t *dest, int64_t destsize,
                   int nthreads, cat_where *where) {
  encoder enc = {.grid = grid, .src = src, .strides = strides, .extent = extent,
                 .compression = compression, .dest = dest};
  *where = (cat_where){-1, -1};
  int64_t result = check_arguments(&enc, destsize);
  for (int d = 0; !result && d < enc.g.ndim; d++) {
    if (extent[d] < 0 || extent[d] > grid->chunk[d]) {
      result = CAT_ERROR_GEOMETRY;
    }
  }
  if (result || !in_blocks(&enc)) {
    return result ? result : encode_whole(&enc);
  }
  enc.todo = enc.g.nblocks;
  enc.blocks = calloc((size_t)enc.g.nblocks, sizeof *enc.blocks);
  result = enc.blocks == NULL ? CAT_ERROR_MEMORY : encode_blocks(&enc, nthreads, where);
  if (!result && (result = assemble(&enc)) == 0) {
    result = store_plain(&enc);
  }
  free_slabs(&enc);
  return result;
}

/* --- changing a chunk --------------------------------------------------------------------------- */

/* Take over the compressed blocks of the chunk as it was; 0, an error, or CAT_ERROR_DIFFERENT. */
static int keep_blocks(encoder *enc, cat_where *where) {
  const geometry *g = &enc->g;
  const uint8_t *chunk = enc->change->chunk;
  int special = special_of(chunk);
  if (special == BLOSC2_SPECIAL_ZERO || special == BLOSC2_SPECIAL_UNINIT) {
    return 0; /* their size follows from the first block that is compressed */
  }
  int64_t body = HEADER + OFFSET * g->nblocks;
  if (special != BLOSC2_NO_SPECIAL || chunk[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED ||
      chunk[BLOSC2_CHUNK_BLOSC2_FLAGS] & BLOSC2_USEDICT || body > enc->change->cbytes) {
    return CAT_ERROR_DIFFERENT;
  }
  block_offsets offsets = {.stored = chunk + HEADER, .nblocks = g->nblocks, .body = (int32_t)body,
                           .cbytes = enc->change->cbytes};
  int error = init_offsets(&offsets, g->nblocks);
  for (int64_t b = 0; !error && b < g->nblocks; b++) {
    int32_t start, end;
    error = find_stored(&offsets, b, &start, &end);
    if (error) {
      where->block = b;
    } else {
      enc->blocks[b] = (outcome){chunk + start, end - start, COMPRESSED};
    }
  }
  free_offsets(&offsets);
  return error;
}

/* Whether the blocks that were kept are of the kind that was compressed now: the headers agree on
 * format, codec, splitting, item size, block size and filters. */
static int agrees(const uint8_t *before, const uint8_t *now) {
  return memcmp(before, now, BLOSC2_CHUNK_NBYTES) == 0 &&
         memcmp(before + BLOSC2_CHUNK_BLOCKSIZE, now + BLOSC2_CHUNK_BLOCKSIZE, OFFSET) == 0 &&
         memcmp(before + BLOSC2_CHUNK_FILTER_CODES, now + BLOSC2_CHUNK_FILTER_CODES,
                BLOSC2_CHUNK_BLOSC2_FLAGS - BLOSC2_CHUNK_FILTER_CODES) == 0 &&
         (before[BLOSC2_CHUNK_BLOSC2_FLAGS] & 0x0F) == (now[BLOSC2_CHUNK_BLOSC2_FLAGS] & 0x0F);
}

int64_t cat_update(const cat_grid *grid, const cat_compression *compression, const uint8_t *chunk,
                   int64_t cbytes, const cat_box *box, const uint8_t *src, const int64_t *strides,
                   uint8_t *dest, int64_t destsize, int nthreads, cat_where *where) {
  change was = {.chunk = chunk, .cbytes = (int32_t)cbytes, .box = box};
  encoder enc = {.grid = grid, .src = src, .strides = strides, .compression = compression,
                 .change = &was, .dest = dest};
  *where = (cat_where){-1, -1};
  int64_t result = check_arguments(&enc, destsize);
  if (!result) {
    result = check_box(box, enc.g.ndim, enc.g.chunk);
  }
  if (!result && (cbytes < HEADER || load_int32(chunk + BLOSC2_CHUNK_CBYTES) != cbytes)) {
    result = CAT_ERROR_TRUNCATED;
  }
  if (!result && (!in_blocks(&enc) || is_empty(box, enc.g.ndim) ||
                  load_int32(chunk + BLOSC2_CHUNK_NBYTES) != enc.g.nbytes)) {
    result = CAT_ERROR_DIFFERENT;
  }
  if (result) {
    return result;
  }
  enc.todo = count_cells(box, enc.g.ndim, enc.g.block, was.along);
  enc.blocks = calloc((size_t)enc.g.nblocks, sizeof *enc.blocks);
  result = enc.blocks == NULL ? CAT_ERROR_MEMORY : keep_blocks(&enc, where);
  if (!result) {
    result = encode_blocks(&enc, nthreads, where);
  }
  if (!result) {
    int zeros = special_of(chunk) != BLOSC2_NO_SPECIAL;
    if (!zeros && !agrees(chunk, dest)) {
      result = CAT_ERROR_DIFFERENT;
    }
    for (int64_t b = 0; zeros && b < enc.g.nblocks; b++) {
      static const uint8_t nothing[OFFSET * BLOSC_MAX_TYPESIZE] = {0};
      if (enc.blocks[b].bytes == NULL && enc.blocks[b].kind != PLAIN) {
        enc.blocks[b] = (outcome){nothing, zero_size(&enc.g, dest), ZEROS};
      }
    }
  }
  if (!result && (result = assemble(&enc)) == 0) {
    result = CAT_ERROR_DIFFERENT;
  }
  free_slabs(&enc);
  return result;
}
