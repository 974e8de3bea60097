/* Chunks whose blocks are compressed one by one. */
#include <stdlib.h>
#include <string.h>

#include "checksums.h"
#include "compress.h"
#include "encode.h"
#include "places.h"
#include "threads.h"

enum {
  TASK_BYTES = 256 * 1024,    /* of items, compressed by a task at least */
  PACKED_BYTES = 1024 * 1024, /* that a thread may compress before their place is known */
  MOST_WAITING = 32,          /* tasks whose blocks these bytes are */
};

/* How a chunk is done by tasks: each compresses some groups. */
typedef struct {
  const encoder *enc;
  int64_t task_groups;
  places *places; /* of the tasks' blocks in the chunk */
} tasks;

/* A task's blocks, compressed but not yet in the chunk. */
typedef struct {
  int64_t task;
  int64_t start; /* in the thread's own memory */
  int64_t size;
} packed;

/* What a thread has of its own. */
struct packer {
  const tasks *all;
  compressor compressor;
  uint8_t *blocks; /* a group, gathered */
  int64_t blocks_size;
  uint8_t *room; /* for what waits for its place */
  int64_t room_size;
  int64_t used;
  packed waiting[MOST_WAITING];
  int nwaiting;
};

/* Bytes from one block to the next: at least a cache line more than a block, so that blocks begin in
 * different sets of a cache. */
static int64_t slot_of(const geometry *g) { return (g->blocksize + 127) / 64 * 64; }

static int64_t task_bound(const tasks *all) {
  return all->task_groups * cat_most_grouped(&all->enc->source) * cat_block_bound(&all->enc->g);
}

/* Copy the waiting blocks that have a place to the chunk; with `wait`, wait until all have one. */
static void settle(packer *own, int wait) {
  const tasks *all = own->all;
  int done = 0;
  for (; done < own->nwaiting; done++) {
    packed *p = &own->waiting[done];
    int64_t place = cat_find_place(all->places, p->task, wait);
    if (place == PLACE_UNKNOWN) {
      break;
    }
    if (place >= 0) {
      memcpy(all->enc->dest + place, own->room + p->start, (size_t)p->size);
    }
  }
  own->nwaiting -= done;
  memmove(own->waiting, own->waiting + done, (size_t)own->nwaiting * sizeof *own->waiting);
  if (own->nwaiting == 0) {
    own->used = 0;
  }
}

/* Have memory for a chunk. Returns 0 or CAT_ERROR_MEMORY. */
static int reserve_packer(packer *own) {
  const encoder *enc = own->all->enc;
  int64_t blocks = cat_most_grouped(&enc->source) * slot_of(&enc->g), room = task_bound(own->all);
  room = room > PACKED_BYTES ? room : PACKED_BYTES;
  if (own->blocks == NULL || blocks > own->blocks_size) {
    free(own->blocks);
    own->blocks = malloc((size_t)blocks);
    own->blocks_size = blocks;
  }
  if (own->room == NULL || room > own->room_size) {
    free(own->room);
    own->room = malloc((size_t)room);
    own->room_size = room;
  }
  return own->blocks == NULL || own->room == NULL ? CAT_ERROR_MEMORY : 0;
}

static int begin_packer(void *state, void *given) {
  packer *own = given;
  own->all = state;
  const encoder *enc = own->all->enc;
  int error = cat_init_compressor(&own->compressor, enc->grid, enc->compression);
  return error ? error : reserve_packer(own);
}

static void free_memory(packer *own) {
  cat_free_compressor(&own->compressor);
  free(own->blocks);
  free(own->room);
}

static void end_packer(void *given) {
  packer *own = given;
  settle(own, 1);
  free_memory(own);
}

void cat_free_packer(packer *own) {
  if (own != NULL) {
    free_memory(own);
    free(own);
  }
}

/* Take what was kept, or make it. Returns 0 or an error code. */
static int take_packer(packer **kept, tasks *all) {
  if (*kept != NULL) {
    (*kept)->all = all;
    return reserve_packer(*kept);
  }
  *kept = calloc(1, sizeof **kept);
  return *kept == NULL ? CAT_ERROR_MEMORY : begin_packer(all, *kept);
}

/* Compress the blocks of a group, one behind the other. Their sizes go where their offsets will be.
 * Returns the size of them all, 0 if the chunk is to be stored as it is, or an error code. */
static int64_t encode_group(packer *own, block_group group, uint8_t *dest, cat_where *where) {
  const encoder *enc = own->all->enc;
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

/* Compress a run of blocks. If their place in the chunk is known, they go there at once. */
static int64_t encode_run(packer *own, int64_t number, cat_where *where) {
  const tasks *all = own->all;
  const encoder *enc = all->enc;
  int64_t bound = task_bound(all);
  settle(own, own->nwaiting == MOST_WAITING || own->used + bound > own->room_size);
  int64_t place = own->nwaiting == 0 ? cat_find_place(all->places, number, 0) : PLACE_UNKNOWN;
  int in_place = place >= 0 && place + bound <= cat_limit_of(enc->grid, &enc->g);
  uint8_t *to = in_place ? enc->dest + place : own->room + own->used;
  int64_t first = number * all->task_groups, stop = first + all->task_groups, size = 0;
  for (int64_t i = first; i < stop && i < enc->ngroups; i++) {
    int64_t group = enc->order == NULL ? i : enc->order[i];
    int64_t n = encode_group(own, cat_find_group(&enc->source, group), to + size, where);
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

static int encode_task(void *state, void *own, int64_t number, cat_where *where) {
  tasks *all = state;
  if (cat_find_place(all->places, number, 0) == PLACE_NEVER) {
    return 0;
  }
  int64_t size = encode_run(own, number, where);
  if (size < 0) {
    cat_fail_task(all->places, number);
    return (int)size;
  }
  /* If the chunk is to be stored as it is, say a size beyond any limit. */
  cat_end_task(all->places, number, size > 0 ? size : INT32_MAX);
  return 0;
}

/* Make offsets of the blocks' sizes; returns whether all are zeros. */
static int find_offsets(const encoder *enc) {
  int64_t at = cat_body_of(enc->grid, &enc->g);
  int32_t empty = cat_zero_size(&enc->g, enc->dest);
  int zeros = 1;
  for (int64_t i = 0; i < enc->g.nblocks; i++) {
    int64_t number = enc->order == NULL ? i : enc->order[i];
    uint8_t *offset = enc->dest + HEADER + OFFSET * number;
    int32_t size = load_int32(offset);
    zeros &= size == empty; /* no other block is as short */
    store_int32(offset, (int32_t)at);
    at += size;
  }
  return zeros;
}

/* Let tasks compress all blocks. Returns 0 or an error code. */
static int run_tasks(tasks *all, int64_t n, int nthreads, packer **kept, cat_where *where) {
  static const cat_work work = {encode_task, sizeof(packer), begin_packer, end_packer};
  if (nthreads != 1) {
    return cat_run(&work, all, n, nthreads, NULL, where);
  }
  int error = take_packer(kept, all);
  if (!error) {
    error = cat_run(&work, all, n, 1, *kept, where);
    settle(*kept, 1);
  }
  return error;
}

int64_t cat_encode_blocks(encoder *enc, int nthreads, packer **kept, cat_where *where) {
  const geometry *g = &enc->g;
  int64_t blocks = TASK_BYTES / g->blocksize + 1, most = cat_most_grouped(&enc->source);
  tasks all = {.enc = enc, .task_groups = (blocks + most - 1) / most};
  int64_t n = (enc->ngroups + all.task_groups - 1) / all.task_groups;
  all.places = cat_new_places(n, cat_body_of(enc->grid, g), cat_limit_of(enc->grid, g));
  if (all.places == NULL) {
    return CAT_ERROR_MEMORY;
  }
  int error = run_tasks(&all, n, nthreads, kept, where);
  int64_t cbytes = cat_end_of_places(all.places);
  cat_free_places(all.places);
  if (cbytes == 0) { /* even if a task failed: its result is not needed */
    return cat_store_blocks(enc, nthreads, where);
  }
  if (error) {
    return error;
  }
  cbytes = cat_finish_header(g, enc->dest, cbytes, find_offsets(enc));
  if (enc->grid->checksums && cbytes > HEADER) {
    cat_seal_checksums(enc->dest, offsets_end(g), g->nblocks);
  }
  return cbytes;
}
