#include "encode.h"

#include <stdlib.h>
#include <string.h>

#include <blosc2/filters-registry.h>

#include "checksums.h"
#include "compress.h"
#include "gather.h"
#include "offsets.h"
#include "places.h"
#include "threads.h"

enum {
  TASK_BYTES = 256 * 1024,    /* of items, compressed by a task at least */
  PACKED_BYTES = 1024 * 1024, /* compressed ahead of other threads */
  MOST_WAITING = 32,          /* tasks of which this is */
};

typedef struct {
  const cat_grid *grid;
  const cat_compression *compression;
  geometry g;
  block_source source;
  uint8_t *dest;
  int64_t ngroups;
  int64_t task_groups;
  places *places; /* of the tasks' blocks in the chunk */
} encoder;

/* A task's blocks, compressed but not yet in the chunk. */
typedef struct {
  int64_t task;
  int64_t start; /* in the thread's own memory */
  int64_t size;
} packed;

/* What a thread has of its own. */
typedef struct {
  encoder *enc;
  compressor compressor;
  uint8_t *blocks; /* a group, gathered */
  uint8_t *room;   /* for what waits for its place */
  int64_t room_size;
  int64_t used;
  packed waiting[MOST_WAITING];
  int nwaiting;
} scratch;

/* Where offsets end, and checksums begin. */
static int64_t offsets_end(const geometry *g) { return HEADER + OFFSET * g->nblocks; }

/* Blocks start in different sets of a cache. */
static int64_t slot_of(const geometry *g) { return (g->blocksize + 127) / 64 * 64; }

/* --- tasks -------------------------------------------------------------------------------------- */

static int64_t task_bound(const encoder *enc) {
  return enc->task_groups * cat_most_grouped(&enc->source) * cat_block_bound(&enc->g);
}

/* Copy to the chunk what has a place, or, if `wait` is set, all. */
static void settle(scratch *own, int wait) {
  encoder *enc = own->enc;
  int done = 0;
  for (; done < own->nwaiting; done++) {
    packed *p = &own->waiting[done];
    int64_t place = cat_find_place(enc->places, p->task, wait);
    if (place == PLACE_UNKNOWN) {
      break;
    }
    if (place >= 0) {
      memcpy(enc->dest + place, own->room + p->start, (size_t)p->size);
    }
  }
  own->nwaiting -= done;
  memmove(own->waiting, own->waiting + done, (size_t)own->nwaiting * sizeof *own->waiting);
  if (own->nwaiting == 0) {
    own->used = 0;
  }
}

static void free_scratch(void *given) {
  scratch *own = given;
  if (own != NULL) {
    settle(own, 1);
    cat_free_compressor(&own->compressor);
    free(own->blocks);
    free(own->room);
    free(own);
  }
}

static int init_scratch(encoder *enc, void **thread) {
  scratch *own = *thread = calloc(1, sizeof *own);
  if (own == NULL) {
    return CAT_ERROR_MEMORY;
  }
  own->enc = enc;
  int error = cat_init_compressor(&own->compressor, enc->grid, enc->compression);
  int64_t bound = task_bound(enc);
  own->room_size = bound > PACKED_BYTES ? bound : PACKED_BYTES;
  own->blocks = malloc((size_t)(cat_most_grouped(&enc->source) * slot_of(&enc->g)));
  own->room = malloc((size_t)own->room_size);
  return error || (own->blocks != NULL && own->room != NULL) ? error : CAT_ERROR_MEMORY;
}

/* Compress the blocks of a group, one behind the other. Their sizes go where their offsets will be.
 * Returns the size of them all, 0 where the chunk is to be stored as it is, or an error code. */
static int64_t encode_group(scratch *own, block_group group, uint8_t *dest, cat_where *where) {
  const encoder *enc = own->enc;
  int64_t total = 0, slot = slot_of(&enc->g);
  cat_gather_group(&enc->source, group, own->blocks, slot);
  for (int64_t i = 0; i < group.count; i++) {
    int64_t number = group.first + i;
    int32_t size = cat_compress_block(&own->compressor, own->blocks + i * slot, dest + total);
    if (number == 0) {
      memcpy(enc->dest, own->compressor.header, HEADER);
    }
    if (size <= 0) {
      where->block = number;
      return size;
    }
    store_int32(enc->dest + HEADER + OFFSET * number, size);
    if (enc->grid->checksums) {
      uint32_t checksum = cat_checksum_of(dest + total, size);
      cat_set_checksum(enc->dest, offsets_end(&enc->g), number, checksum);
    }
    total += size;
  }
  return total;
}

/* Compress a run of blocks, to where they go in the chunk if that is known. */
static int64_t encode_run(scratch *own, int64_t number, cat_where *where) {
  encoder *enc = own->enc;
  int64_t bound = task_bound(enc);
  settle(own, own->nwaiting == MOST_WAITING || own->used + bound > own->room_size);
  int64_t place = own->nwaiting == 0 ? cat_find_place(enc->places, number, 0) : PLACE_UNKNOWN;
  int in_place = place >= 0 && place + bound <= cat_limit_of(enc->grid, &enc->g);
  uint8_t *to = in_place ? enc->dest + place : own->room + own->used;
  int64_t first = number * enc->task_groups, stop = first + enc->task_groups, size = 0;
  for (int64_t i = first; i < stop && i < enc->ngroups; i++) {
    int64_t n = encode_group(own, cat_find_group(&enc->source, i), to + size, where);
    if (n <= 0) {
      return n;
    }
    size += n;
  }
  if (!in_place) {
    own->waiting[own->nwaiting++] = (packed){number, own->used, size};
    own->used += size;
  }
  return size;
}

static int encode_task(void *state, void **thread, int64_t number, cat_where *where) {
  encoder *enc = state;
  if (cat_find_place(enc->places, number, 0) == PLACE_NEVER) {
    return 0;
  }
  int error = *thread == NULL ? init_scratch(enc, thread) : 0;
  int64_t size = error ? error : encode_run(*thread, number, where);
  if (size < 0) {
    cat_fail_task(enc->places, number);
    return (int)size;
  }
  /* What is stored as it is goes beyond any limit. */
  cat_end_task(enc->places, number, size > 0 ? size : INT32_MAX);
  return 0;
}

/* --- chunks ------------------------------------------------------------------------------------- */

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

static int plain_task(void *state, void **thread, int64_t number, cat_where *where) {
  const encoder *enc = state;
  (void)thread, (void)where;
  const geometry *g = &enc->g;
  block_group group = cat_find_group(&enc->source, number);
  if (!enc->grid->checksums) {
    cat_gather_group(&enc->source, group, enc->dest + HEADER + group.first * g->blocksize,
                     g->blocksize);
    return 0;
  }
  int64_t slot = OFFSET + (int64_t)g->blocksize;
  int64_t at = cat_body_of(enc->grid, g) + group.first * slot;
  cat_gather_group(&enc->source, group, enc->dest + at + OFFSET, slot);
  for (int64_t block = group.first; block < group.first + group.count; block++, at += slot) {
    store_int32(enc->dest + HEADER + OFFSET * block, (int32_t)at);
    store_int32(enc->dest + at, g->blocksize);
    cat_set_checksum(enc->dest, offsets_end(g), block, cat_checksum_of(enc->dest + at, slot));
  }
  return 0;
}

static void release_nothing(void *own) { (void)own; }

/* Let the header be that of blocks of one stream each, which nothing was done to. */
static void forget_compression(uint8_t *header) {
  header[BLOSC2_CHUNK_VERSIONLZ] = BLOSC_LZ4_VERSION_FORMAT;
  header[BLOSC2_CHUNK_FLAGS] = EXTENDED | FLAG_DONT_SPLIT | BLOSC_LZ4_FORMAT << 5;
  memset(header + BLOSC2_CHUNK_FILTER_CODES, 0, HEADER - BLOSC2_CHUNK_FILTER_CODES);
}

/* Store the chunk as it is, behind the header of a chunk with these parameters. A plain chunk has no
 * room for checksums: with them its blocks are streams that were not compressed. */
static int64_t store_plain(encoder *enc, int nthreads, cat_where *where) {
  if (enc->grid->checksums) {
    forget_compression(enc->dest);
  } else {
    enc->dest[BLOSC2_CHUNK_FLAGS] |= BLOSC_MEMCPYED;
  }
  int error = cat_run(plain_task, release_nothing, enc, enc->ngroups, nthreads, where);
  if (error) {
    return error;
  }
  int64_t cbytes = cat_finish_header(&enc->g, enc->dest, cat_limit_of(enc->grid, &enc->g), 0);
  if (enc->grid->checksums) {
    cat_seal_checksums(enc->dest, offsets_end(&enc->g), enc->g.nblocks);
  }
  return cbytes;
}

/* Make room for checksums in a chunk of C-Blosc2's, and fill it. Returns the chunk's size, or 0 where
 * it cannot have any. */
static int64_t insert_checksums(const encoder *enc, int64_t cbytes) {
  const geometry *g = &enc->g;
  uint8_t *chunk = enc->dest;
  int64_t body = offsets_end(g), room = cat_checksums_size(g->nblocks);
  if (chunk[BLOSC2_CHUNK_BLOSC2_FLAGS] & BLOSC2_USEDICT) {
    body += OFFSET + load_int32(chunk + body);
  }
  if (cbytes + room > cat_limit_of(enc->grid, g)) {
    return 0;
  }
  block_offsets offsets = {.stored = chunk + HEADER, .nblocks = g->nblocks, .body = (int32_t)body,
                           .cbytes = (int32_t)cbytes, .in_order = 1};
  memmove(chunk + body + room, chunk + body, (size_t)(cbytes - body));
  for (int64_t b = 0; b < g->nblocks; b++) {
    int32_t start, end;
    if (cat_find_stored(&offsets, b, &start, &end)) {
      return 0;
    }
    cat_set_checksum(chunk, body, b, cat_checksum_of(chunk + room + start, end - start));
  }
  for (int64_t b = 0; b < g->nblocks; b++) {
    uint8_t *offset = chunk + HEADER + OFFSET * b;
    store_int32(offset, (int32_t)(load_int32(offset) + room));
  }
  store_int32(chunk + BLOSC2_CHUNK_CBYTES, (int32_t)(cbytes + room));
  cat_seal_checksums(chunk, body, g->nblocks);
  return cbytes + room;
}

/* Compress the chunk in one call: DELTA and dictionaries span blocks, and C-Blosc2 stores buffers
 * under 32 bytes plain. */
static int64_t encode_whole(encoder *enc, int nthreads, cat_where *where) {
  compressor c;
  int64_t cbytes = cat_init_compressor(&c, enc->grid, enc->compression);
  uint8_t *chunk = malloc((size_t)enc->g.nbytes);
  if (!cbytes && chunk == NULL) {
    cbytes = CAT_ERROR_MEMORY;
  }
  if (!cbytes) {
    for (int64_t i = 0; i < enc->ngroups; i++) {
      block_group group = cat_find_group(&enc->source, i);
      cat_gather_group(&enc->source, group, chunk + group.first * enc->g.blocksize, enc->g.blocksize);
    }
    int32_t limit = HEADER + enc->g.nbytes; /* of a plain chunk, which no other may exceed */
    cbytes = blosc2_compress_ctx(c.context, chunk, enc->g.nbytes, enc->dest, limit);
    if (cbytes == 0) {
      cbytes = CAT_ERROR_BLOCK;
    } else if (cbytes > 0 && enc->dest[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED) {
      /* With several filters C-Blosc2 works in its source, and would store what they left there;
       * after it gave up a dictionary, its size may be wrong, and it would still look for one. */
      enc->dest[BLOSC2_CHUNK_BLOSC2_FLAGS] &= (uint8_t)~BLOSC2_USEDICT;
      cbytes = store_plain(enc, nthreads, where);
    } else if (cbytes > 0 && enc->grid->checksums && special_of(enc->dest) == BLOSC2_NO_SPECIAL) {
      cbytes = insert_checksums(enc, cbytes);
      cbytes = cbytes ? cbytes : store_plain(enc, nthreads, where);
    }
  }
  free(chunk);
  cat_free_compressor(&c);
  return cbytes;
}

/* Make offsets of the blocks' sizes; returns whether all are zeros. */
static int find_offsets(const encoder *enc) {
  int64_t at = cat_body_of(enc->grid, &enc->g);
  int32_t empty = cat_zero_size(&enc->g, enc->dest);
  int zeros = 1;
  for (int64_t b = 0; b < enc->g.nblocks; b++) {
    uint8_t *offset = enc->dest + HEADER + OFFSET * b;
    int32_t size = load_int32(offset);
    zeros &= size == empty; /* no other block is as short */
    store_int32(offset, (int32_t)at);
    at += size;
  }
  return zeros;
}

static int64_t encode_blocks(encoder *enc, int nthreads, cat_where *where) {
  int64_t blocks = TASK_BYTES / enc->g.blocksize + 1;
  enc->task_groups = (blocks + cat_most_grouped(&enc->source) - 1) / cat_most_grouped(&enc->source);
  int64_t tasks = (enc->ngroups + enc->task_groups - 1) / enc->task_groups;
  enc->places = cat_new_places(tasks, cat_body_of(enc->grid, &enc->g), cat_limit_of(enc->grid, &enc->g));
  if (enc->places == NULL) {
    return CAT_ERROR_MEMORY;
  }
  int64_t error = cat_run(encode_task, free_scratch, enc, tasks, nthreads, where);
  int64_t cbytes = cat_end_of_places(enc->places);
  cat_free_places(enc->places);
  if (cbytes == 0) { /* whatever tasks met that would not have been needed */
    return store_plain(enc, nthreads, where);
  }
  if (error) {
    return error;
  }
  cbytes = cat_finish_header(&enc->g, enc->dest, cbytes, find_offsets(enc));
  if (enc->grid->checksums && cbytes > HEADER) {
    cat_seal_checksums(enc->dest, offsets_end(&enc->g), enc->g.nblocks);
  }
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

int cat_check_compression(const cat_grid *grid, const cat_compression *compression, int64_t destsize,
                          geometry *g) {
  int error = cat_find_geometry(grid, g);
  if (error) {
    return error;
  }
  if (!cat_codec_is_known(compression->codec, g->ndim, g->itemsize)) {
    return CAT_ERROR_CODEC;
  }
  if (!cat_filters_are_known(compression->filters) || !cells_fit(g, compression) ||
      !cat_filters_fill(compression->filters, compression->filters_meta, g->itemsize, g->blocksize,
                        g->nbytes)) {
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
  encoder enc = {.grid = grid, .compression = compression, .dest = dest};
  *where = (cat_where){-1, -1};
  int error = cat_check_compression(grid, compression, destsize, &enc.g);
  for (int d = 0; !error && d < enc.g.ndim; d++) {
    if (extent[d] < 0 || extent[d] > grid->chunk[d]) {
      error = CAT_ERROR_GEOMETRY;
    }
  }
  if (error) {
    return error;
  }
  enc.source = cat_find_source(&enc.g, src, strides, extent);
  enc.ngroups = cat_count_groups(&enc.source);
  return cat_in_blocks(&enc.g, compression) ? encode_blocks(&enc, nthreads, where)
                                        : encode_whole(&enc, nthreads, where);
}
