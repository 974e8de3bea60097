/* Chunks that change where they lie. */
#include <stdlib.h>
#include <string.h>

#include "checksums.h"
#include "encode.h"
#include "update.h"

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
  for (int64_t i = 0; i < u->cut.n; i++) {
    cut_box touched;
    cat_find_cut_box(&u->cut, i, u->strides, &touched);
    stored_block b = u->blocks[touched.number];
    slots[i] = (block_slot){touched.number, b.start, b.size};
  }
}

static int blocks_fit(const updater *u, const block_slot *slots) {
  for (int64_t i = 0; i < u->cut.n; i++) {
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
  for (int64_t i = 0; i < u->cut.n; i++) {
    stored_block b = u->blocks[slots[i].number];
    uint8_t *to = chunk + slots[i].start;
    memcpy(to, b.bytes, (size_t)b.size);
    memset(to + b.size, 0, (size_t)(slots[i].size - b.size));
    if (u->grid->checksums) {
      cat_set_checksum(chunk, offsets_end, slots[i].number, cat_checksum_of(to, slots[i].size));
    }
  }
  if (u->grid->checksums) {
    cat_seal_checksums(chunk, offsets_end, u->g.nblocks);
  }
}

int cat_update_in_place(const cat_grid *grid, const cat_compression *compression, uint8_t *chunk,
                        int64_t cbytes, const cat_box *box, const uint8_t *src,
                        const int64_t *strides, int nthreads, cat_where *where) {
  updater u = {.grid = grid, .compression = compression, .box = box, .src = src,
               .strides = strides};
  block_slot *slots = NULL;
  *where = (cat_where){-1, -1, 0};
  int result = cat_check_change(&u, INT64_MAX);
  if (!result) {
    result = cat_update_memory(&u, chunk, cbytes);
  }
  if (!result) {
    result = cat_init_updater(&u, where);
  }
  if (!result && (special_of(chunk) != BLOSC2_NO_SPECIAL || u.cut.n > u.g.nblocks / FEW)) {
    result = CAT_ERROR_DIFFERENT;
  }
  if (!result && (slots = malloc((size_t)u.cut.n * sizeof *slots)) == NULL) {
    result = CAT_ERROR_MEMORY;
  }
  if (!result) {
    find_slots(&u, slots);
    result = cat_update_blocks(&u, nthreads, where);
  }
  if (!result && blocks_fit(&u, slots)) {
    replace_blocks(&u, slots, chunk);
    result = 1;
  }
  free(slots);
  cat_free_updater(&u);
  return result == CAT_ERROR_DIFFERENT ? 0 : result;
}
