#include "update.h"

#include <stdlib.h>
#include <string.h>

#include "checksums.h"
#include "compress.h"
#include "encode.h"
#include "head.h"
#include "order.h"

enum { TASK_BYTES = 256 * 1024 }; /* of items, compressed by a task at least */

/* Take over the compressed blocks of the chunk as it was. */
static int keep_blocks(updater *u, cat_where *where) {
  chunk_head head;
  int special = special_of(u->chunk);
  int64_t need = cat_read_head(u->grid, &u->g, u->chunk, u->cbytes, &head);
  if (special == BLOSC2_SPECIAL_ZERO || special == BLOSC2_SPECIAL_UNINIT) {
    return 0; /* their size follows from the first block that is compressed */
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
      u->blocks[b] = (stored_block){u->chunk + start, end - start, checksum};
    }
  }
  cat_free_offsets(&head.offsets);
  return error;
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

int cat_init_updater(updater *u, int64_t cbytes, int64_t destsize, cat_where *where) {
  *where = (cat_where){-1, -1, 0};
  int error = cat_check_compression(u->grid, u->compression, destsize, &u->g);
  if (!error) {
    error = check_update(u, cbytes);
  }
  if (error) {
    return error;
  }
  u->cbytes = (int32_t)cbytes;
  u->cut = cat_cut(u->box, u->g.ndim, u->g.block, u->g.blocks);
  u->task_blocks = TASK_BYTES / u->g.blocksize + 1;
  u->ntasks = (u->cut.n + u->task_blocks - 1) / u->task_blocks;
  u->blocks = calloc((size_t)u->g.nblocks, sizeof *u->blocks);
  u->results = calloc((size_t)u->ntasks, sizeof *u->results);
  return u->blocks == NULL || u->results == NULL ? CAT_ERROR_MEMORY : keep_blocks(u, where);
}

void cat_free_updater(updater *u) {
  for (int64_t t = 0; u->results != NULL && t < u->ntasks; t++) {
    free(u->results[t]);
  }
  free(u->results);
  free(u->blocks);
}

/* Put the blocks together, in the order in which all would be encoded, behind header and offsets.
 * Returns the chunk's size, or CAT_ERROR_DIFFERENT where it is to be stored as it is. */
static int64_t assemble(const updater *u, const int32_t *order, uint8_t *dest) {
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
  for (int64_t i = 0; !zeros && i < g->nblocks; i++) {
    int64_t b = order == NULL ? i : order[i];
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

int64_t cat_update(const cat_grid *grid, const cat_compression *compression, const uint8_t *chunk,
                   int64_t cbytes, const cat_box *box, const uint8_t *src, const int64_t *strides,
                   uint8_t *dest, int64_t destsize, int nthreads, cat_where *where) {
  updater u = {.grid = grid, .compression = compression, .chunk = chunk, .box = box, .src = src,
               .strides = strides};
  int64_t result = cat_init_updater(&u, cbytes, destsize, where);
  if (!result) {
    result = cat_update_blocks(&u, nthreads, where);
  }
  int32_t *order = NULL;
  if (!result && !(result = cat_find_order(&u.g, &order))) {
    result = assemble(&u, order, dest);
  }
  free(order);
  cat_free_updater(&u);
  return result;
}
