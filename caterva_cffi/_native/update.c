#include <stdlib.h>
#include <string.h>

#include "checksums.h"
#include "compress.h"
#include "encode.h"
#include "offsets.h"
#include "threads.h"

enum { TASK_BYTES = 256 * 1024 }; /* of items, compressed by a task at least */

/* A block of the new chunk: kept from the old one or compressed. */
typedef struct {
  const uint8_t *bytes; /* or NULL */
  int32_t size;
  uint32_t checksum; /* where the grid has them */
} stored_block;

typedef struct {
  const cat_grid *grid;
  const cat_compression *compression;
  geometry g;
  const uint8_t *chunk; /* as it was */
  int32_t cbytes;
  const cat_box *box;
  const uint8_t *src;
  const int64_t *strides;
  int64_t along[CAT_MAX_DIM];
  int64_t touched;    /* blocks that the box has items in */
  int64_t task_blocks;
  uint8_t **results;  /* of the tasks */
  stored_block *blocks;
  uint8_t header[HEADER];
} updater;

/* What a thread has of its own. */
typedef struct {
  compressor compressor;
  uint8_t *block;
  uint8_t *packed;   /* the compressed blocks of a task */
  int64_t *numbers;  /* which they are */
} scratch;

static void free_scratch(void *given) {
  scratch *own = given;
  if (own != NULL) {
    cat_free_compressor(&own->compressor);
    free(own->block);
    free(own->packed);
    free(own->numbers);
    free(own);
  }
}

static int init_scratch(const updater *u, void **thread) {
  scratch *own = *thread = calloc(1, sizeof *own);
  if (own == NULL) {
    return CAT_ERROR_MEMORY;
  }
  int error = cat_init_compressor(&own->compressor, u->grid, u->compression);
  own->block = malloc((size_t)u->g.blocksize);
  own->packed = malloc((size_t)(u->task_blocks * cat_block_bound(&u->g)));
  own->numbers = malloc((size_t)u->task_blocks * sizeof *own->numbers);
  int all = own->block != NULL && own->packed != NULL && own->numbers != NULL;
  return error || all ? error : CAT_ERROR_MEMORY;
}

/* Read the block that holds the index-th part of the change, and lay the part into it. */
static int change_block(const updater *u, int64_t index, uint8_t *block, int64_t *number) {
  static const int64_t every[CAT_MAX_DIM] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const geometry *g = &u->g;
  block_part p;
  cat_find_block(g, u->box, u->along, index, u->strides, &p);
  *number = p.number;
  int error = 0;
  if (!p.whole) {
    cat_piece piece = {0, u->cbytes, u->chunk};
    cat_part part = {.pieces = &piece, .npieces = 1, .dest = block};
    int64_t rest = p.number;
    for (int d = g->ndim - 1; d >= 0; d--) {
      int64_t start = rest % g->blocks[d] * g->block[d], left = g->chunk[d] - start;
      rest /= g->blocks[d];
      part.box.start[d] = start;
      part.box.count[d] = left < g->block[d] ? left : g->block[d];
      part.box.step[d] = every[d];
    }
    memcpy(part.strides, g->block_strides, sizeof part.strides);
    cat_where where;
    memset(block, 0, (size_t)g->blocksize);
    error = cat_decode(u->grid, &part, 1, 1, &where);
  }
  if (!error) {
    cat_copy_items(block + p.src, p.strides, u->src + p.dest, u->strides, p.count, g->ndim,
                   g->itemsize, u->strides);
  }
  return error;
}

/* Change and compress a run of blocks. */
static int update_task(void *state, void **thread, int64_t number, cat_where *where) {
  updater *u = state;
  int error = *thread == NULL ? init_scratch(u, thread) : 0;
  if (error) {
    return error;
  }
  scratch *own = *thread;
  int64_t first = number * u->task_blocks, stop = first + u->task_blocks, size = 0;
  stop = stop < u->touched ? stop : u->touched;
  for (int64_t i = first; i < stop; i++) {
    int64_t block;
    error = change_block(u, i, own->block, &block);
    int32_t n = error ? error : cat_compress_block(&own->compressor, own->block, own->packed + size);
    if (n <= 0) {
      where->block = block;
      return n < 0 ? n : CAT_ERROR_DIFFERENT; /* a chunk that is stored as it is has no such blocks */
    }
    own->numbers[i - first] = block;
    u->blocks[block].size = n;
    if (u->grid->checksums) {
      u->blocks[block].checksum = cat_checksum_of(own->packed + size, n);
    }
    size += n;
  }
  uint8_t *kept = u->results[number] = malloc((size_t)size);
  if (kept == NULL) {
    return CAT_ERROR_MEMORY;
  }
  memcpy(kept, own->packed, (size_t)size);
  for (int64_t i = 0; i < stop - first; i++) {
    stored_block *b = &u->blocks[own->numbers[i]];
    b->bytes = kept;
    kept += b->size;
  }
  if (number == 0) {
    memcpy(u->header, own->compressor.header, HEADER);
  }
  return 0;
}

/* Take over the compressed blocks of the chunk as it was; 0, an error, or CAT_ERROR_DIFFERENT. */
static int keep_blocks(updater *u, cat_where *where) {
  const geometry *g = &u->g;
  const uint8_t *chunk = u->chunk;
  int special = special_of(chunk);
  if (special == BLOSC2_SPECIAL_ZERO || special == BLOSC2_SPECIAL_UNINIT) {
    return 0; /* their size follows from the first block that is compressed */
  }
  int64_t body = HEADER + OFFSET * g->nblocks;
  if (special != BLOSC2_NO_SPECIAL || chunk[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED ||
      chunk[BLOSC2_CHUNK_BLOSC2_FLAGS] & BLOSC2_USEDICT || body > u->cbytes) {
    return CAT_ERROR_DIFFERENT;
  }
  block_offsets offsets = {.stored = chunk + HEADER, .nblocks = g->nblocks, .body = (int32_t)body,
                           .cbytes = u->cbytes};
  const uint8_t *checksums = NULL;
  if (body + cat_checksums_size(g->nblocks) <= u->cbytes) {
    int error = cat_find_checksums(chunk, body, g->nblocks, &checksums);
    if (error) {
      return error;
    }
  }
  if (u->grid->checksums && checksums == NULL) {
    return CAT_ERROR_UNCHECKED;
  }
  int error = cat_init_offsets(&offsets, g->nblocks);
  for (int64_t b = 0; !error && b < g->nblocks; b++) {
    int32_t start, end;
    error = cat_find_stored(&offsets, b, &start, &end);
    if (error) {
      where->block = b;
    } else {
      u->blocks[b].bytes = chunk + start;
      u->blocks[b].size = end - start;
      /* Damage to a block that stays shows as before. */
      u->blocks[b].checksum = checksums == NULL ? 0 : cat_checksum_at(checksums, b);
    }
  }
  cat_free_offsets(&offsets);
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

/* Blocks that nothing was written to are zeros in a chunk that was. */
static int fill_zeros(const updater *u) {
  static const uint8_t nothing[OFFSET * BLOSC_MAX_TYPESIZE] = {0};
  if (special_of(u->chunk) == BLOSC2_NO_SPECIAL) {
    return agrees(u->chunk, u->header) ? 0 : CAT_ERROR_DIFFERENT;
  }
  int32_t size = cat_zero_size(&u->g, u->header);
  uint32_t checksum = u->grid->checksums ? cat_checksum_of(nothing, size) : 0;
  for (int64_t b = 0; b < u->g.nblocks; b++) {
    if (u->blocks[b].bytes == NULL) {
      u->blocks[b] = (stored_block){nothing, size, checksum};
    }
  }
  return 0;
}

/* Put the blocks together, in order, behind header and offsets. Returns the chunk's size, or
 * CAT_ERROR_DIFFERENT where it is to be stored as it is. */
static int64_t assemble(const updater *u, uint8_t *dest) {
  const geometry *g = &u->g;
  int64_t at = cat_body_of(u->grid, g), offsets_end = HEADER + OFFSET * g->nblocks;
  int zeros = 1;
  for (int64_t b = 0; b < g->nblocks; b++) {
    zeros &= u->blocks[b].size == cat_zero_size(g, u->header);
    at += u->blocks[b].size;
  }
  if (at > cat_limit_of(u->grid, g)) {
    return CAT_ERROR_DIFFERENT;
  }
  memcpy(dest, u->header, HEADER);
  at = cat_body_of(u->grid, g);
  for (int64_t b = 0; !zeros && b < g->nblocks; b++) {
    store_int32(dest + HEADER + OFFSET * b, (int32_t)at);
    memcpy(dest + at, u->blocks[b].bytes, (size_t)u->blocks[b].size);
    if (u->grid->checksums) {
      cat_set_checksum(dest, offsets_end, b, u->blocks[b].checksum);
    }
    at += u->blocks[b].size;
  }
  int64_t cbytes = cat_finish_header(g, dest, at, zeros);
  if (u->grid->checksums && !zeros) {
    cat_seal_checksums(dest, offsets_end, g->nblocks);
  }
  return cbytes;
}

static int check_update(const updater *u, int64_t cbytes) {
  int error = cat_check_box(u->box, u->g.ndim, u->g.chunk);
  if (error) {
    return error;
  }
  if (cbytes < HEADER || load_int32(u->chunk + BLOSC2_CHUNK_CBYTES) != cbytes) {
    return CAT_ERROR_TRUNCATED;
  }
  if (!cat_in_blocks(&u->g, u->compression) || cat_is_empty(u->box, u->g.ndim) ||
      load_int32(u->chunk + BLOSC2_CHUNK_NBYTES) != u->g.nbytes) {
    return CAT_ERROR_DIFFERENT;
  }
  return 0;
}

static int64_t count_tasks(const updater *u) {
  return (u->touched + u->task_blocks - 1) / u->task_blocks;
}

/* Find what a change needs: the blocks as they are, and how many to do. Free it in any case. */
static int init_updater(updater *u, int64_t cbytes, cat_where *where) {
  int error = check_update(u, cbytes);
  if (error) {
    return error;
  }
  u->touched = cat_count_cells(u->box, u->g.ndim, u->g.block, u->along);
  u->task_blocks = TASK_BYTES / u->g.blocksize + 1;
  u->blocks = calloc((size_t)u->g.nblocks, sizeof *u->blocks);
  u->results = calloc((size_t)count_tasks(u), sizeof *u->results);
  return u->blocks == NULL || u->results == NULL ? CAT_ERROR_MEMORY : keep_blocks(u, where);
}

static void free_updater(updater *u) {
  for (int64_t t = 0; u->results != NULL && t < count_tasks(u); t++) {
    free(u->results[t]);
  }
  free(u->results);
  free(u->blocks);
}

int64_t cat_update(const cat_grid *grid, const cat_compression *compression, const uint8_t *chunk,
                   int64_t cbytes, const cat_box *box, const uint8_t *src, const int64_t *strides,
                   uint8_t *dest, int64_t destsize, int nthreads, cat_where *where) {
  updater u = {.grid = grid, .compression = compression, .chunk = chunk,
               .cbytes = (int32_t)cbytes, .box = box, .src = src, .strides = strides};
  *where = (cat_where){-1, -1};
  int64_t result = cat_check_compression(grid, compression, destsize, &u.g);
  if (!result) {
    result = init_updater(&u, cbytes, where);
  }
  if (!result) {
    result = cat_run(update_task, free_scratch, &u, count_tasks(&u), nthreads, where);
  }
  if (!result) {
    result = fill_zeros(&u);
  }
  if (!result) {
    result = assemble(&u, dest);
  }
  free_updater(&u);
  return result;
}

/* --- in place ----------------------------------------------------------------------------------- */

enum {
  FEW = 8,   /* one in so many blocks may be compressed in vain */
  SPARE = 8, /* a part of a block's place that may be left unused */
};

/* Where a touched block was stored. */
typedef struct {
  int64_t number;
  int32_t start;
  int32_t size;
} block_slot;

static void find_slots(const updater *u, block_slot *slots) {
  for (int64_t i = 0; i < u->touched; i++) {
    block_part p;
    cat_find_block(&u->g, u->box, u->along, i, u->strides, &p);
    stored_block b = u->blocks[p.number];
    slots[i] = (block_slot){p.number, (int32_t)(b.bytes - u->chunk), b.size};
  }
}

static int blocks_fit(const updater *u, const block_slot *slots) {
  for (int64_t i = 0; i < u->touched; i++) {
    int32_t left = slots[i].size - u->blocks[slots[i].number].size;
    if (left < 0 || left > slots[i].size / SPARE) {
      return 0;
    }
  }
  return 1;
}

/* Readers know from its streams where a block ends. */
static void replace_blocks(const updater *u, const block_slot *slots, uint8_t *chunk) {
  int64_t offsets_end = HEADER + OFFSET * u->g.nblocks;
  for (int64_t i = 0; i < u->touched; i++) {
    stored_block b = u->blocks[slots[i].number];
    uint8_t *place = chunk + slots[i].start;
    memcpy(place, b.bytes, (size_t)b.size);
    memset(place + b.size, 0, (size_t)(slots[i].size - b.size));
    if (u->grid->checksums) {
      cat_set_checksum(chunk, offsets_end, slots[i].number, cat_checksum_of(place, slots[i].size));
    }
  }
  if (u->grid->checksums) {
    cat_seal_checksums(chunk, offsets_end, u->g.nblocks);
  }
}

int cat_update_in_place(const cat_grid *grid, const cat_compression *compression, uint8_t *chunk,
                        int64_t cbytes, const cat_box *box, const uint8_t *src,
                        const int64_t *strides, int nthreads, cat_where *where) {
  updater u = {.grid = grid, .compression = compression, .chunk = chunk,
               .cbytes = (int32_t)cbytes, .box = box, .src = src, .strides = strides};
  *where = (cat_where){-1, -1};
  block_slot *slots = NULL;
  int result = cat_check_compression(grid, compression, INT64_MAX, &u.g);
  if (!result) {
    result = init_updater(&u, cbytes, where);
  }
  if (!result && (special_of(chunk) != BLOSC2_NO_SPECIAL || u.touched > u.g.nblocks / FEW)) {
    result = CAT_ERROR_DIFFERENT;
  }
  if (!result && (slots = malloc((size_t)u.touched * sizeof *slots)) == NULL) {
    result = CAT_ERROR_MEMORY;
  }
  if (!result) {
    find_slots(&u, slots);
    result = cat_run(update_task, free_scratch, &u, count_tasks(&u), nthreads, where);
  }
  if (!result) {
    result = fill_zeros(&u);
  }
  if (!result && blocks_fit(&u, slots)) {
    replace_blocks(&u, slots, chunk);
    result = 1;
  }
  free(slots);
  free_updater(&u);
  return result == CAT_ERROR_DIFFERENT ? 0 : result;
}
