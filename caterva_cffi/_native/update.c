#include "update.h"

#include <stdlib.h>
#include <string.h>

#include "checksums.h"
#include "compress.h"
#include "encode.h"
#include "head.h"
#include "order.h"

enum { TASK_BYTES = 256 * 1024 }; /* of items, compressed by a task at least */

static int compare_int64(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

int cat_check_change(updater *u, int64_t destsize) {
  int error = cat_check_compression(u->grid, u->compression, destsize, &u->g);
  return error ? error : cat_check_box(u->box, u->g.ndim, u->g.chunk);
}

/* Find in which order the blocks are stored. */
static int sort_blocks(updater *u) {
  int64_t n = u->g.nblocks;
  int in_order = 1;
  for (int64_t b = 1; b < n; b++) {
    in_order &= u->blocks[b - 1].start <= u->blocks[b].start;
  }
  if (in_order) {
    return 0;
  }
  int64_t *starts = malloc((size_t)n * sizeof *starts);
  u->order = malloc((size_t)n * sizeof *u->order);
  if (starts == NULL || u->order == NULL) {
    free(starts);
    return CAT_ERROR_MEMORY;
  }
  for (int64_t b = 0; b < n; b++) {
    starts[b] = (int64_t)u->blocks[b].start << 32 | b;
  }
  qsort(starts, (size_t)n, sizeof *starts, compare_int64);
  for (int64_t b = 0; b < n; b++) {
    u->order[b] = (int32_t)(starts[b] & INT32_MAX);
  }
  free(starts);
  return 0;
}

/* Take over the compressed blocks of the chunk as it was. */
static int keep_blocks(updater *u, cat_where *where) {
  chunk_head head;
  int special = special_of(u->chunk);
  int64_t need = cat_read_head(u->grid, &u->g, u->chunk, u->size, &head);
  if (special == BLOSC2_SPECIAL_ZERO || special == BLOSC2_SPECIAL_UNINIT) {
    return cat_find_order(&u->g, &u->order); /* sizes follow from the first block that is compressed */
  }
  if (need < 0 || head.kind != CHUNK_OF_BLOCKS ||
      u->chunk[BLOSC2_CHUNK_BLOSC2_FLAGS] & BLOSC2_USEDICT) {
    return CAT_ERROR_DIFFERENT;
  }
  int error = cat_check_head(u->grid, &head);
  if (!error) {
    error = cat_init_offsets(&head.offsets, u->g.nblocks);
  }
  for (int64_t b = 0; !error && b < u->g.nblocks; b++) {
    int32_t start, end;
    error = cat_find_stored(&head.offsets, b, &start, &end);
    if (error) {
      where->block = b;
    } else {
      /* Damage to a block that stays shows as before. */
      uint32_t checksum = head.checksums == NULL ? 0 : cat_checksum_at(head.checksums, b);
      u->blocks[b] = (stored_block){NULL, start, end - start, checksum};
    }
  }
  cat_free_offsets(&head.offsets);
  return error ? error : sort_blocks(u);
}

int cat_update_memory(updater *u, const uint8_t *chunk, int64_t cbytes) {
  if (cbytes < HEADER || load_int32(chunk + BLOSC2_CHUNK_CBYTES) != cbytes) {
    return CAT_ERROR_TRUNCATED;
  }
  u->piece = (cat_piece){0, cbytes, chunk};
  u->before = (cat_part){.pieces = &u->piece, .npieces = 1};
  u->chunk = chunk;
  u->size = cbytes;
  return 0;
}

int cat_update_file(updater *u, const cat_place *place, cat_where *where) {
  u->before = (cat_part){.place = place};
  decoder dec = {.grid = u->grid, .g = &u->g, .part = &u->before, .chunk = &u->reading.chunk};
  int error = cat_know_chunk(&dec, &u->reading, where);
  u->chunk = u->reading.chunk.bytes;
  u->size = u->reading.chunk.size;
  return error;
}

static int check_update(const updater *u) {
  if (!cat_in_blocks(&u->g, u->compression) || cat_is_empty(u->box, u->g.ndim) ||
      load_int32(u->chunk + BLOSC2_CHUNK_NBYTES) != u->g.nbytes) {
    return CAT_ERROR_DIFFERENT;
  }
  return 0;
}

int cat_init_updater(updater *u, cat_where *where) {
  int error = check_update(u);
  if (error) {
    return error;
  }
  u->cut = cat_cut(u->box, u->g.ndim, u->g.block, u->g.blocks);
  u->task_blocks = TASK_BYTES / u->g.blocksize + 1;
  u->ntasks = (u->cut.n + u->task_blocks - 1) / u->task_blocks;
  u->blocks = calloc((size_t)u->g.nblocks, sizeof *u->blocks);
  u->results = calloc((size_t)u->ntasks, sizeof *u->results);
  int all = u->blocks != NULL && u->results != NULL;
  return all ? keep_blocks(u, where) : CAT_ERROR_MEMORY;
}

void cat_free_updater(updater *u) {
  for (int64_t t = 0; u->results != NULL && t < u->ntasks; t++) {
    free(u->results[t]);
  }
  free(u->results);
  free(u->order);
  free(u->blocks);
  cat_free_scratch(&u->reading);
}

int64_t cat_write_head(const updater *u, uint8_t *dest) {
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
  if (!zeros) {
    at = cat_body_of(u->grid, g);
    for (int64_t i = 0; i < g->nblocks; i++) {
      int64_t b = cat_stored_at(u, i);
      store_int32(dest + HEADER + OFFSET * b, (int32_t)at);
      if (u->grid->checksums) {
        cat_set_checksum(dest, offsets_end, b, u->blocks[b].checksum);
      }
      at += u->blocks[b].size;
    }
  }
  int64_t cbytes = cat_finish_header(g, dest, at, zeros);
  if (u->grid->checksums && !zeros) {
    cat_seal_checksums(dest, offsets_end, g->nblocks);
  }
  return cbytes;
}

/* Put the new chunk together. */
static int64_t assemble(const updater *u, uint8_t *dest) {
  int64_t cbytes = cat_write_head(u, dest), at = cat_body_of(u->grid, &u->g);
  for (int64_t i = 0; cbytes > HEADER && i < u->g.nblocks; i++) {
    stored_block b = u->blocks[cat_stored_at(u, i)];
    memcpy(dest + at, b.bytes != NULL ? b.bytes : u->chunk + b.start, (size_t)b.size);
    at += b.size;
  }
  return cbytes;
}

int64_t cat_update(const cat_grid *grid, const cat_compression *compression, const uint8_t *chunk,
                   int64_t cbytes, const cat_box *box, const uint8_t *src, const int64_t *strides,
                   uint8_t *dest, int64_t destsize, int nthreads, cat_where *where) {
  updater u = {.grid = grid, .compression = compression, .box = box, .src = src,
               .strides = strides};
  *where = (cat_where){-1, -1, 0};
  int64_t result = cat_check_change(&u, destsize);
  if (!result) {
    result = cat_update_memory(&u, chunk, cbytes);
  }
  if (!result) {
    result = cat_init_updater(&u, where);
  }
  if (!result) {
    result = cat_update_blocks(&u, nthreads, where);
  }
  if (!result) {
    result = assemble(&u, dest);
  }
  cat_free_updater(&u);
  return result;
}
