#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <blosc2/codecs-registry.h>

#include "checksums.h"
#include "chunk.h"
#include "decode.h"
#include "offsets.h"
#include "streams.h"
#include "threads.h"
#include "workspace.h"

/* One part of one chunk, as all its threads see it. */
typedef struct {
  const cat_grid *grid;
  const geometry *g;
  const cat_part *part;
  const uint8_t *header;
  int32_t cbytes;
  block_offsets offsets;
  const uint8_t *checksums; /* of the blocks, or NULL */
  uint8_t *whole;  /* the chunk decoded, where its blocks cannot be decoded alone */
  int plain;       /* blocks are stored as they are */
  int simple;      /* blocks are decoded without C-Blosc2 */
  int at_hand;     /* simple, and the whole chunk is one piece: no block's end need be known */
  stream_layout layout;
  int direct;      /* a block lies in the destination as in a block of its own */
  int64_t along[CAT_MAX_DIM];
  int64_t wanted;  /* blocks */
  int64_t slab;    /* blocks of a task */
} decoder;

/* What a thread has of its own. */
typedef struct {
  workspace *space;
  uint8_t *block;   /* in it: one block, decoded */
  uint8_t *other;   /* behind that: one block, not yet unshuffled, or the mini-chunk */
  int64_t mini;     /* bytes of the mini-chunk */
  blosc2_context *context;
  plugin_context *plugin;
} scratch;

/* The chunk's bytes from `start` to `stop`, or NULL where no piece holds them. */
static const uint8_t *find_bytes(const decoder *dec, int64_t start, int64_t stop) {
  int64_t low = 0, high = dec->part->npieces;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (dec->part->pieces[middle].start <= start) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) {
    return NULL;
  }
  const cat_piece *piece = &dec->part->pieces[low - 1];
  return stop - piece->start <= piece->size ? piece->data + (start - piece->start) : NULL;
}

static int check_header(const decoder *dec) {
  const uint8_t *header = dec->header;
  int flags = header[BLOSC2_CHUNK_FLAGS], flags2 = header[BLOSC2_CHUNK_BLOSC2_FLAGS];
  if ((flags & EXTENDED) != EXTENDED || flags2 & (FLAG_LAZY | BLOSC2_INSTR_CODEC) ||
      header[BLOSC2_CHUNK_BLOSC2_FLAGS2] & BLOSC2_VL_BLOCKS ||
      special_of(header) > BLOSC2_SPECIAL_LASTID) {
    return CAT_ERROR_FLAGS;
  }
  if (load_int32(header + BLOSC2_CHUNK_NBYTES) != dec->g->nbytes || dec->cbytes < HEADER) {
    return CAT_ERROR_GEOMETRY;
  }
  if (special_of(header) != BLOSC2_NO_SPECIAL || flags & BLOSC_MEMCPYED) {
    return 0; /* no codec and no filter takes part */
  }
  int codec = flags >> 5;
  if (codec == BLOSC_UDCODEC_FORMAT) {
    codec = header[UDCODEC];
    if (codec <= BLOSC2_DEFINED_CODECS_STOP || !cat_codec_is_known(codec, dec->g->ndim, dec->g->itemsize)) {
      return CAT_ERROR_CODEC;
    }
    if (codec < BLOSC2_USER_REGISTERED_CODECS_START &&
        load_int32(header + BLOSC2_CHUNK_BLOCKSIZE) != dec->g->blocksize) {
      return CAT_ERROR_GEOMETRY; /* N-d codecs write a block of the grid, and no more */
    }
  } else if (codec != BLOSC_BLOSCLZ_FORMAT && codec != BLOSC_LZ4_FORMAT &&
             codec != BLOSC_ZLIB_FORMAT && codec != BLOSC_ZSTD_FORMAT) {
    return CAT_ERROR_CODEC;
  }
  const uint8_t *filters = header + BLOSC2_CHUNK_FILTER_CODES;
  int usable = cat_filters_are_known(filters) &&
               cat_filters_fill(filters, header + BLOSC2_CHUNK_FILTER_META, dec->g->itemsize,
                                load_int32(header + BLOSC2_CHUNK_BLOCKSIZE), dec->g->nbytes);
  return usable ? 0 : CAT_ERROR_FILTER;
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

/* --- where blocks are -------------------------------------------------------------------------- */

static int read_checksums(decoder *dec) {
  int64_t nblocks = dec->g->nblocks, body = dec->offsets.body, stop = body + cat_checksums_size(nblocks);
  if (stop <= dec->cbytes && find_bytes(dec, 0, stop) != NULL) {
    int error = cat_find_checksums(dec->header, body, nblocks, &dec->checksums);
    if (error) {
      return error;
    }
  }
  if (dec->checksums != NULL) {
    dec->offsets.in_order = 1;
    dec->at_hand = 0; /* what is checked goes on to where the next block begins */
  }
  return dec->grid->checksums && dec->checksums == NULL ? CAT_ERROR_UNCHECKED : 0;
}

static int read_offsets(decoder *dec) {
  int64_t nblocks = dec->g->nblocks, body = HEADER + OFFSET * nblocks;
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
  dec->offsets = (block_offsets){.stored = dec->header + HEADER, .nblocks = nblocks,
                                 .body = (int32_t)body, .cbytes = dec->cbytes};
  int error = read_checksums(dec);
  return error || dec->at_hand ? error : cat_init_offsets(&dec->offsets, dec->wanted);
}

/* --- one block ---------------------------------------------------------------------------------- */

static int init_context(const decoder *dec, scratch *own) {
  blosc2_dparams dparams = BLOSC2_DPARAMS_DEFAULTS;
  dparams.nthreads = 1;
  if (uses_plugins(dec->header)) {
    if ((own->plugin = cat_new_plugin_context(dec->grid)) == NULL) {
      return CAT_ERROR_MEMORY;
    }
    dparams.schunk = &own->plugin->schunk;
  }
  own->context = blosc2_create_dctx(dparams);
  return own->context == NULL ? CAT_ERROR_MEMORY : 0;
}

static void free_context(scratch *own) {
  if (own->context != NULL) {
    blosc2_free_ctx(own->context);
  }
  cat_free_plugin_context(own->plugin);
}

/* Reserve a block, and `behind` bytes behind it. */
static int reserve_block(const decoder *dec, scratch *own, int64_t behind) {
  own->block = cat_reserve(own->space, dec->g->blocksize + behind);
  own->other = own->block == NULL ? NULL : own->block + dec->g->blocksize;
  return own->block == NULL ? CAT_ERROR_MEMORY : 0;
}

static int init_scratch(const decoder *dec, scratch *own) {
  if ((own->space = cat_take_workspace()) == NULL) {
    return CAT_ERROR_MEMORY;
  }
  return dec->simple ? reserve_block(dec, own, dec->g->blocksize) : init_context(dec, own);
}

static void free_scratch(void *given) {
  scratch *own = given;
  if (own != NULL) {
    free_context(own);
    cat_give_workspace(own->space);
    free(own);
  }
}

/* How many bytes zfp may read behind damaged ones: it stops at as many as it could have written, in
 * whole cells of 4 items along each dimension, and a rate of 255 makes these 2.55 times their size. */
static int64_t zfp_reads_on(const decoder *dec) {
  int codec = dec->header[UDCODEC], used = dec->header[BLOSC2_CHUNK_FLAGS] >> 5;
  if (used != BLOSC_UDCODEC_FORMAT || codec < BLOSC_CODEC_ZFP_FIXED_ACCURACY ||
      codec > BLOSC_CODEC_ZFP_FIXED_RATE) {
    return 0;
  }
  int64_t cells = 3 * (int64_t)dec->g->itemsize;
  for (int d = 0; d < dec->g->ndim; d++) {
    cells *= (dec->g->block[d] + 3) / 4 * 4;
  }
  return cells + 64;
}

/* Make room for a mini-chunk of `size` bytes, with all that blocks of a chunk have in common. */
static int init_mini(const decoder *dec, scratch *own, int64_t prefix, int64_t size) {
  int64_t offsets = OFFSET * dec->g->nblocks, behind = zfp_reads_on(dec);
  own->mini = 0;
  if (reserve_block(dec, own, size + behind)) {
    return CAT_ERROR_MEMORY;
  }
  own->mini = size;
  memcpy(own->other, dec->header, HEADER);
  store_int32(own->other + BLOSC2_CHUNK_NBYTES, dec->g->blocksize);
  store_int32(own->other + HEADER, (int32_t)prefix);
  memcpy(own->other + HEADER + OFFSET, dec->header + HEADER + offsets,
         (size_t)(prefix - HEADER - OFFSET));
  return 0;
}

/* Where a block's bytes are in memory. */
static int find_block_bytes(const decoder *dec, int64_t block, const uint8_t **bytes,
                            int32_t *size) {
  int32_t start, end;
  if (dec->at_hand) { /* streams say how long they are */
    start = load_int32(dec->offsets.stored + OFFSET * block), end = dec->cbytes;
    if (start < dec->offsets.body || start >= end) {
      return CAT_ERROR_OFFSET;
    }
    *bytes = dec->header + start;
    *size = end - start;
    return 0;
  }
  int error = cat_find_stored(&dec->offsets, block, &start, &end);
  if (error) {
    return error;
  }
  *bytes = find_bytes(dec, start, end);
  *size = end - start;
  if (*bytes == NULL) {
    return CAT_ERROR_MISSING;
  }
  int intact = dec->checksums == NULL || cat_is_intact(dec->checksums, block, *bytes, *size);
  return intact ? 0 : CAT_ERROR_CHECKSUM;
}

/* Decode a block to `dest`, or, where that is NULL, into the scratch. */
static int decode_block(const decoder *dec, scratch *own, int64_t block, uint8_t *dest) {
  const uint8_t *bytes;
  int32_t stored;
  int error = find_block_bytes(dec, block, &bytes, &stored);
  if (error) {
    return error;
  }
  int64_t prefix = dec->offsets.body - OFFSET * (dec->g->nblocks - 1), size = prefix + stored;
  if (size > own->mini) {
    int64_t usual = prefix + dec->g->blocksize + OFFSET * (int64_t)BLOSC_MAX_TYPESIZE;
    error = init_mini(dec, own, prefix, size > usual ? size : usual);
    if (error) {
      return error;
    }
  }
  store_int32(own->other + BLOSC2_CHUNK_CBYTES, (int32_t)size);
  memcpy(own->other + prefix, bytes, (size_t)stored);
  memset(own->other + size, 0, (size_t)zfp_reads_on(dec));
  int decoded = blosc2_decompress_ctx(own->context, own->other, (int32_t)size,
                                      dest == NULL ? own->block : dest, dec->g->blocksize);
  return decoded == dec->g->blocksize ? 0 : CAT_ERROR_BLOCK;
}

/* Decode the wanted items of a block from its streams. */
static int decode_simple(const decoder *dec, scratch *own, const block_part *p, uint8_t *dest) {
  const geometry *g = dec->g;
  const stream_layout *layout = &dec->layout;
  const uint8_t *stored, *bytes[BLOSC_MAX_TYPESIZE];
  int32_t size;
  int error = find_block_bytes(dec, p->number, &stored, &size);
  if (error) {
    return error;
  }
  int whole = p->whole && dec->direct, shuffled = layout->typesize > 1;
  uint8_t *streams = whole && !shuffled ? dest : own->other;
  error = cat_decode_streams(layout, stored, size, !dec->at_hand, g->blocksize, p->end, whole, streams,
                             bytes, &own->space->zstd);
  if (error || (whole && !shuffled)) {
    return error;
  }
  if (whole) {
    blosc2_unshuffle(layout->typesize, g->blocksize, bytes[0], dest);
    return 0;
  }
  const uint8_t *block = bytes[0];
  if (shuffled) {
    if (cat_unshuffle_part(layout, bytes, g, p, dest, dec->part->strides)) {
      return 0;
    }
    for (int j = 0; j < layout->typesize; j++) {
      int64_t length = g->blocksize / layout->typesize;
      if (bytes[j] != streams + j * length) {
        memcpy(streams + j * length, bytes[j], (size_t)length);
      }
    }
    blosc2_unshuffle(layout->typesize, g->blocksize, streams, own->block);
    block = own->block;
  }
  cat_copy_items(dest, dec->part->strides, block + p->src, p->strides, p->count, g->ndim, g->itemsize,
                 dec->part->strides);
  return 0;
}

/* Decode the number-th wanted block to where it goes. */
static int decode_wanted(const decoder *dec, scratch *own, int64_t number, cat_where *where) {
  const geometry *g = dec->g;
  const cat_box *box = &dec->part->box;
  block_part p;
  cat_find_block(g, box, dec->along, number, dec->part->strides, &p);
  uint8_t *dest = dec->part->dest + p.dest;
  const uint8_t *block = NULL;
  int error = 0;
  if (dec->whole != NULL) {
    block = dec->whole + p.number * g->blocksize;
  } else if (dec->plain) {
    int64_t start = HEADER + p.number * g->blocksize;
    block = find_bytes(dec, start, start + g->blocksize);
    error = block == NULL ? CAT_ERROR_MISSING : 0;
  } else if (dec->simple) {
    error = decode_simple(dec, own, &p, dest);
  } else if (p.whole && dec->direct) {
    error = decode_block(dec, own, p.number, dest);
  } else {
    error = decode_block(dec, own, p.number, NULL);
    block = own->block;
  }
  if (error) {
    where->block = p.number;
  } else if (block != NULL) {
    cat_copy_items(dest, dec->part->strides, block + p.src, p.strides, p.count, g->ndim, g->itemsize,
                   dec->part->strides);
  }
  return error;
}

static int decode_slab(void *state, void **thread, int64_t number, cat_where *where) {
  const decoder *dec = state;
  scratch *own = *thread;
  int error = 0;
  if (own == NULL && dec->whole == NULL && !dec->plain) {
    *thread = own = calloc(1, sizeof *own);
    error = own == NULL ? CAT_ERROR_MEMORY : init_scratch(dec, own);
  }
  int64_t stop = (number + 1) * dec->slab;
  for (int64_t b = number * dec->slab; !error && b < stop && b < dec->wanted; b++) {
    error = decode_wanted(dec, own, b, where);
  }
  return error;
}

/* --- one chunk ---------------------------------------------------------------------------------- */

/* Decode the whole chunk at once: DELTA refers to the first block, and blocks of another size than
 * the grid's say nothing about where an item is. */
static int decode_whole(decoder *dec, cat_where *where) {
  const uint8_t *bytes = find_bytes(dec, 0, dec->cbytes);
  if (bytes == NULL) {
    return CAT_ERROR_MISSING;
  }
  if (load_int32(dec->header + BLOSC2_CHUNK_BLOCKSIZE) == dec->g->blocksize) {
    int error = read_offsets(dec);
    for (int64_t b = 0; !error && dec->checksums != NULL && b < dec->g->nblocks; b++) {
      const uint8_t *block;
      int32_t size;
      error = find_block_bytes(dec, b, &block, &size);
      where->block = error ? b : -1;
    }
    if (error) {
      return error;
    }
  } else if (dec->grid->checksums) {
    return CAT_ERROR_UNCHECKED;
  }
  int64_t behind = zfp_reads_on(dec);
  uint8_t *padded = behind ? calloc(1, (size_t)(dec->cbytes + behind)) : NULL;
  if (padded != NULL) {
    bytes = memcpy(padded, bytes, (size_t)dec->cbytes);
  } else if (behind) {
    return CAT_ERROR_MEMORY;
  }
  scratch own = {0};
  dec->whole = malloc((size_t)dec->g->nbytes);
  int error = dec->whole == NULL ? CAT_ERROR_MEMORY : init_context(dec, &own);
  if (!error) {
    int decoded =
        blosc2_decompress_ctx(own.context, bytes, dec->cbytes, dec->whole, dec->g->nbytes);
    error = decoded == dec->g->nbytes ? 0 : CAT_ERROR_BLOCK;
  }
  free(padded);
  free_context(&own);
  return error;
}

typedef struct {
  const uint8_t *item;
  size_t itemsize;
  int zeros;
} repeated;

static void fill_rows(const void *state, uint8_t *dest, int64_t from, const rows *r) {
  const repeated *value = state;
  (void)from;
  size_t size = value->itemsize, all = size * (size_t)r->n[1];
  for (int64_t row = 0; row < r->n[0]; row++, dest += r->dest[0]) {
    if (r->n[1] > 1 && r->dest[1] != (int64_t)size) {
      for (int64_t i = 0; i < r->n[1]; i++) {
        memcpy(dest + i * r->dest[1], value->item, size);
      }
    } else if (value->zeros) {
      memset(dest, 0, all);
    } else {
      memcpy(dest, value->item, size);
      for (size_t done = size; done < all; done *= 2) {
        memcpy(dest + done, dest, done < all - done ? done : all - done);
      }
    }
  }
}

/* A chunk in which every item is the same. */
static int fill_special(const decoder *dec) {
  static const int64_t still[CAT_MAX_DIM] = {0};
  const geometry *g = dec->g;
  const int64_t *count = dec->part->box.count;
  if (special_of(dec->header) != BLOSC2_SPECIAL_VALUE && dec->cbytes != HEADER) {
    return CAT_ERROR_GEOMETRY;
  }
  uint8_t *made = calloc(1, (size_t)g->itemsize);
  repeated value = {made, (size_t)g->itemsize, 0};
  int error = made == NULL ? CAT_ERROR_MEMORY : 0;
  switch (error ? BLOSC2_NO_SPECIAL : special_of(dec->header)) {
    case BLOSC2_SPECIAL_NAN:
      if (g->itemsize == (int32_t)sizeof(float)) {
        memcpy(made, &(float){NAN}, sizeof(float));
      } else if (g->itemsize == (int32_t)sizeof(double)) {
        memcpy(made, &(double){NAN}, sizeof(double));
      } else {
        error = CAT_ERROR_GEOMETRY;
      }
      break;
    case BLOSC2_SPECIAL_VALUE:
      if (dec->cbytes - HEADER != g->itemsize) {
        error = CAT_ERROR_GEOMETRY;
      } else if (dec->grid->checksums) {
        error = CAT_ERROR_UNCHECKED;
      } else if ((value.item = find_bytes(dec, 0, dec->cbytes)) == NULL) {
        error = CAT_ERROR_MISSING;
      } else {
        value.item += HEADER;
      }
      break;
    default: /* zeros, and what was never written */
      value.zeros = 1;
      break;
  }
  if (!error) {
    cat_for_rows(dec->part->dest, dec->part->strides, 0, still, count, g->ndim, dec->part->strides, fill_rows,
                 &value);
  }
  free(made);
  return error;
}

int cat_decode_part(const cat_grid *grid, const geometry *g, const cat_part *part,
                    int nthreads, cat_where *where) {
  decoder dec = {.grid = grid, .g = g, .part = part};
  int error = cat_check_box(&part->box, g->ndim, g->chunk);
  if (error || cat_is_empty(&part->box, g->ndim)) {
    return error;
  }
  if (part->npieces < 1 || part->pieces[0].start != 0 || part->pieces[0].size < HEADER) {
    return CAT_ERROR_TRUNCATED;
  }
  dec.header = part->pieces[0].data;
  dec.cbytes = load_int32(dec.header + BLOSC2_CHUNK_CBYTES);
  if ((error = check_header(&dec))) {
    return error;
  }
  if (special_of(dec.header) != BLOSC2_NO_SPECIAL) {
    return fill_special(&dec);
  }
  dec.plain = dec.header[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED;
  dec.simple = !dec.plain && cat_find_streams(dec.header, g->itemsize, &dec.layout);
  dec.at_hand = dec.simple && part->pieces[0].size >= dec.cbytes;
  dec.direct = cat_same_layout(g, part->strides);
  dec.wanted = cat_count_cells(&part->box, g->ndim, g->block, dec.along);
  if (dec.plain) {
    error = dec.cbytes == (int64_t)HEADER + g->nbytes ? 0 : CAT_ERROR_GEOMETRY;
    error = !error && grid->checksums ? CAT_ERROR_UNCHECKED : error;
  } else if (load_int32(dec.header + BLOSC2_CHUNK_BLOCKSIZE) != g->blocksize ||
             cat_has_filter(dec.header + BLOSC2_CHUNK_FILTER_CODES, BLOSC_DELTA)) {
    error = decode_whole(&dec, where);
  } else {
    error = read_offsets(&dec);
  }
  if (!error) {
    dec.slab = SLAB_BYTES / g->blocksize + 1;
    int64_t slabs = (dec.wanted + dec.slab - 1) / dec.slab;
    error = cat_run(decode_slab, free_scratch, &dec, slabs, nthreads, where);
  }
  cat_free_offsets(&dec.offsets);
  free(dec.whole);
  return error;
}
