/* Blocks of a chunk that change: decoded, changed and compressed. */
#include <stdlib.h>
#include <string.h>

#include "checksums.h"
#include "compress.h"
#include "decode.h"
#include "rows.h"
#include "threads.h"
#include "update.h"

/* What a thread has of its own. */
typedef struct {
  scratch decoding;
  compressor compressor;
  uint8_t *block;
  uint8_t *packed;  /* the compressed blocks of a task */
  int64_t *numbers; /* which they are */
} changer;

static int begin_changer(void *state, void *given) {
  const updater *u = state;
  changer *own = given;
  int error = cat_init_compressor(&own->compressor, u->grid, u->compression);
  own->block = malloc((size_t)u->g.blocksize);
  own->packed = malloc((size_t)(u->task_blocks * cat_block_bound(&u->g)));
  own->numbers = malloc((size_t)u->task_blocks * sizeof *own->numbers);
  int all = own->block != NULL && own->packed != NULL && own->numbers != NULL;
  return error || all ? error : CAT_ERROR_MEMORY;
}

static void end_changer(void *given) {
  changer *own = given;
  cat_free_scratch(&own->decoding);
  cat_free_compressor(&own->compressor);
  free(own->block);
  free(own->packed);
  free(own->numbers);
}

/* Decode a block as it was; what it has beyond the chunk is zeros. */
static int decode_before(const updater *u, changer *own, int64_t number, cat_where *where) {
  const geometry *g = &u->g;
  cat_part part = u->before;
  part.dest = own->block;
  cat_locate_block(g, number, g->chunk, part.box.start, part.box.count);
  for (int d = 0; d < g->ndim; d++) {
    part.box.step[d] = 1;
    part.strides[d] = g->block_strides[d];
  }
  memset(own->block, 0, (size_t)g->blocksize);
  return cat_decode_part(u->grid, g, &part, 1, &own->decoding, where);
}

/* Make the block that holds the i-th part of the change as it will be. */
static int change_block(const updater *u, changer *own, int64_t i, int64_t *number,
                        cat_where *where) {
  const geometry *g = &u->g;
  block_part p;
  cat_find_block(g, &u->cut, i, u->strides, &p);
  *number = p.box.number;
  int error = p.whole ? 0 : decode_before(u, own, p.box.number, where);
  if (!error) {
    cat_copy_items(own->block + p.src, p.strides, u->src + p.box.dest, u->strides, p.box.count,
                   g->ndim, g->itemsize, u->strides);
  }
  return error;
}

/* Change and compress a run of blocks, one behind the other. Returns their size or an error code. */
static int64_t pack_blocks(updater *u, changer *own, int64_t first, int64_t stop,
                           cat_where *where) {
  int64_t size = 0;
  for (int64_t i = first; i < stop; i++) {
    int64_t block;
    int error = change_block(u, own, i, &block, where);
    uint8_t *to = own->packed + size;
    int32_t n = error ? error : cat_compress_block(&own->compressor, own->block, to);
    if (n <= 0) {
      where->block = block;
      return n < 0 ? n : CAT_ERROR_DIFFERENT; /* a chunk that is stored as it is has no such blocks */
    }
    own->numbers[i - first] = block;
    u->blocks[block].size = n;
    if (u->grid->checksums) {
      u->blocks[block].checksum = cat_checksum_of(to, n);
    }
    size += n;
  }
  return size;
}

static int update_task(void *state, void *given, int64_t number, cat_where *where) {
  updater *u = state;
  changer *own = given;
  int64_t first = number * u->task_blocks, stop = first + u->task_blocks;
  stop = stop < u->cut.n ? stop : u->cut.n;
  int64_t size = pack_blocks(u, own, first, stop, where);
  if (size < 0) {
    return (int)size;
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
    if (u->blocks[b].size == 0) {
      u->blocks[b] = (stored_block){nothing, 0, size, checksum};
    }
  }
  return 0;
}

int cat_update_blocks(updater *u, int nthreads, cat_where *where) {
  static const cat_work work = {update_task, sizeof(changer), begin_changer, end_changer};
  int error = cat_run(&work, u, u->ntasks, nthreads, NULL, where);
  return error ? error : fill_zeros(u);
}
