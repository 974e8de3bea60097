/* Chunks whose blocks are stored as they are. */
#include <string.h>

#include "checksums.h"
#include "compress.h"
#include "encode.h"
#include "threads.h"

static int store_task(void *state, void *own, int64_t number, cat_where *where) {
  const encoder *enc = state;
  (void)own, (void)where;
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

/* Let the header be that of blocks of one stream each, which nothing was done to. */
static void forget_compression(uint8_t *header) {
  header[BLOSC2_CHUNK_VERSIONLZ] = BLOSC_LZ4_VERSION_FORMAT;
  header[BLOSC2_CHUNK_FLAGS] = EXTENDED | FLAG_DONT_SPLIT | BLOSC_LZ4_FORMAT << 5;
  memset(header + BLOSC2_CHUNK_FILTER_CODES, 0, HEADER - BLOSC2_CHUNK_FILTER_CODES);
}

/* A plain chunk has no room for checksums. So with checksums, the chunk is written as one of blocks whose
 * streams were not compressed. */
int64_t cat_store_blocks(encoder *enc, int nthreads, cat_where *where) {
  static const cat_work work = {.task = store_task};
  if (enc->grid->checksums) {
    forget_compression(enc->dest);
  } else {
    enc->dest[BLOSC2_CHUNK_FLAGS] |= BLOSC_MEMCPYED;
  }
  int error = cat_run(&work, enc, enc->ngroups, nthreads, NULL, where);
  if (error) {
    return error;
  }
  int64_t cbytes = cat_finish_header(&enc->g, enc->dest, cat_limit_of(enc->grid, &enc->g), 0);
  if (enc->grid->checksums) {
    cat_seal_checksums(enc->dest, offsets_end(&enc->g), enc->g.nblocks);
  }
  return cbytes;
}
