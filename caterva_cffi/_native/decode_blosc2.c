/* What C-Blosc2 decodes: a block as a chunk of its own (a "mini-chunk"), or a whole chunk. */
#include <stdlib.h>
#include <string.h>

#include <blosc2/codecs-registry.h>

#include "decode.h"

/* How many bytes zfp may read behind damaged ones: it stops at as many as it could have written, in
 * whole cells of 4 items along each dimension, and a rate of 255 makes these 2.55 times their size. */
static int64_t zfp_reads_on(const decoder *dec) {
  const uint8_t *header = dec->chunk->head.header;
  int codec = header[UDCODEC];
  if (header[BLOSC2_CHUNK_FLAGS] >> 5 != BLOSC_UDCODEC_FORMAT ||
      codec < BLOSC_CODEC_ZFP_FIXED_ACCURACY || codec > BLOSC_CODEC_ZFP_FIXED_RATE) {
    return 0;
  }
  int64_t cells = 3 * (int64_t)dec->g->itemsize;
  for (int d = 0; d < dec->g->ndim; d++) {
    cells *= (dec->g->block[d] + 3) / 4 * 4;
  }
  return cells + 64;
}

/* Make room for a mini-chunk of `size` bytes, with all that blocks of a chunk have in common: header
 * and dictionary, `prefix` bytes with the one offset between them. */
static int begin_mini(const decoder *dec, scratch *own, int64_t prefix, int64_t size) {
  const uint8_t *header = dec->chunk->head.header;
  own->mini = 0;
  if (cat_reserve_block(dec, own, size + zfp_reads_on(dec))) {
    return CAT_ERROR_MEMORY;
  }
  own->mini = size;
  memcpy(own->other, header, HEADER);
  store_int32(own->other + HEADER, (int32_t)prefix);
  memcpy(own->other + HEADER + OFFSET, header + HEADER + OFFSET * dec->g->nblocks,
         (size_t)(prefix - HEADER - OFFSET));
  return 0;
}

/* Say in the header of a mini-chunk how many bytes it has. Of a block that is shorter than the others
 * the streams were not split. */
static void size_mini(const decoder *dec, uint8_t *mini, int32_t nbytes, int64_t cbytes) {
  uint8_t flags = dec->chunk->head.header[BLOSC2_CHUNK_FLAGS];
  mini[BLOSC2_CHUNK_FLAGS] = nbytes < dec->g->blocksize ? flags | FLAG_DONT_SPLIT : flags;
  store_int32(mini + BLOSC2_CHUNK_NBYTES, nbytes);
  store_int32(mini + BLOSC2_CHUNK_BLOCKSIZE, nbytes);
  store_int32(mini + BLOSC2_CHUNK_CBYTES, (int32_t)cbytes);
}

int cat_decode_mini(const decoder *dec, scratch *own, int64_t number, const uint8_t *stored,
                    int32_t size, uint8_t *dest) {
  const geometry *g = dec->g;
  int32_t nbytes = cat_block_bytes(g, number);
  int64_t prefix = dec->chunk->head.offsets.body - OFFSET * (g->nblocks - 1), all = prefix + size;
  if (all > own->mini) {
    int64_t usual = prefix + g->blocksize + OFFSET * (int64_t)BLOSC_MAX_TYPESIZE;
    int error = begin_mini(dec, own, prefix, all > usual ? all : usual);
    if (error) {
      return error;
    }
  }
  size_mini(dec, own->other, nbytes, all);
  memcpy(own->other + prefix, stored, (size_t)size);
  memset(own->other + all, 0, (size_t)zfp_reads_on(dec));
  int decoded = blosc2_decompress_ctx(own->context, own->other, (int32_t)all,
                                      dest == NULL ? own->block : dest, nbytes);
  return decoded == nbytes ? 0 : CAT_ERROR_BLOCK;
}

/* Blocks that are not decoded alone are still checked alone. */
static int check_blocks(const decoder *dec, scratch *own, cat_where *where) {
  int64_t nblocks = dec->chunk->head.checksums == NULL ? 0 : dec->g->nblocks;
  int error = cat_init_offsets(&own->chunk.head.offsets, nblocks);
  for (int64_t number = 0; !error && number < nblocks; number++) {
    const uint8_t *bytes;
    int32_t size;
    wanted_block wanted = {number, 0, 0};
    error = cat_find_stored_block(dec, own, &wanted, &bytes, &size, where);
    where->block = error ? number : where->block;
  }
  return error;
}

int cat_decode_at_once(const decoder *dec, scratch *own, uint8_t **whole, cat_where *where) {
  const chunk_head *head = &dec->chunk->head;
  int error = check_blocks(dec, own, where);
  if (!error) {
    error = cat_prepare_scratch(dec, own);
  }
  if (error) {
    return error;
  }
  int32_t nbytes = dec->g->nbytes;
  int64_t behind = zfp_reads_on(dec);
  uint8_t *padded = behind ? calloc(1, (size_t)(head->cbytes + behind)) : NULL;
  uint8_t *dest = malloc((size_t)nbytes);
  if (dest == NULL || (behind && padded == NULL)) {
    error = CAT_ERROR_MEMORY;
  } else {
    const uint8_t *bytes =
        behind ? memcpy(padded, head->header, (size_t)head->cbytes) : head->header;
    int decoded = blosc2_decompress_ctx(own->context, bytes, head->cbytes, dest, nbytes);
    error = decoded == nbytes ? 0 : CAT_ERROR_BLOCK;
  }
  free(padded);
  if (error) {
    free(dest);
    return error;
  }
  *whole = dest;
  return 0;
}
