/* Chunks that C-Blosc2 compresses in one call. */
#include <stdlib.h>
#include <string.h>

#include "checksums.h"
#include "compress.h"
#include "encode.h"
#include "offsets.h"

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
int64_t cat_encode_whole(encoder *enc, int nthreads, cat_where *where) {
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
      /* C-Blosc2 stored the chunk plain, but not always rightly. With several filters it has stored
       * what they left in its source; after it gave up a dictionary, the size may be wrong, and readers
       * would look for one. */
      enc->dest[BLOSC2_CHUNK_BLOSC2_FLAGS] &= (uint8_t)~BLOSC2_USEDICT;
      cbytes = cat_store_blocks(enc, nthreads, where);
    } else if (cbytes > 0 && enc->grid->checksums && special_of(enc->dest) == BLOSC2_NO_SPECIAL) {
      cbytes = insert_checksums(enc, cbytes);
      cbytes = cbytes ? cbytes : cat_store_blocks(enc, nthreads, where);
    }
  }
  free(chunk);
  cat_free_compressor(&c);
  return cbytes;
}

