#include <string.h>

#include "decode.h"
#include "rows.h"

/* Join the streams of a block in the scratch. Those that lie there already are not copied. */
static void unshuffle_block(const decoder *dec, scratch *own, const uint8_t *const *bytes) {
  int typesize = dec->chunk->coding.typesize;
  int64_t length = dec->g->blocksize / typesize;
  for (int j = 0; j < typesize; j++) {
    if (bytes[j] != own->other + j * length) {
      memcpy(own->other + j * length, bytes[j], (size_t)length);
    }
  }
  blosc2_unshuffle(typesize, dec->g->blocksize, own->other, own->block);
}

/* Decode the wanted items of a block from its streams. They are in the destination then, and `block` is
 * NULL; or `block` is where the whole block is, and they are to be copied. */
static int decode_simple(const decoder *dec, scratch *own, const block_part *p,
                         const uint8_t *stored, int32_t size, uint8_t *dest,
                         const uint8_t **block) {
  const geometry *g = dec->g;
  const stream_coding *coding = &dec->chunk->coding;
  const uint8_t *bytes[BLOSC_MAX_TYPESIZE];
  int whole = p->whole && dec->direct, shuffled = coding->typesize > 1;
  uint8_t *streams = whole && !shuffled ? dest : own->other;
  int error = cat_decode_streams(coding, stored, size, !dec->chunk->at_hand, g->blocksize, p->end,
                                 whole, streams, bytes, &own->space->zstd);
  if (error) {
    return error;
  }
  if (!shuffled) {
    *block = whole ? NULL : bytes[0];
  } else if (whole) {
    blosc2_unshuffle(coding->typesize, g->blocksize, bytes[0], dest);
  } else if (!cat_unshuffle_part(coding, bytes, g, p, dest, dec->part->strides)) {
    unshuffle_block(dec, own, bytes);
    *block = own->block;
  }
  return 0;
}

/* --- several parts of a chunk ------------------------------------------------------------------ */

/* A block that is decoded for several parts: as a whole, or its streams alone. */
typedef struct {
  const uint8_t *items; /* or NULL */
  const uint8_t *bytes[BLOSC_MAX_TYPESIZE];
} shared_block;

/* See one of the parts, and which of the block's items it wants. */
static void see_use(decoder *dec, const cat_part *parts, const block_use *use, block_part *p) {
  const geometry *g = dec->g;
  dec->part = &parts[use->part];
  dec->cut = cat_cut(&dec->part->box, g->ndim, g->block, g->blocks);
  cat_find_block(g, &dec->cut, use->i, dec->part->strides, p);
}

/* Decode a block as far as its parts want it. */
static int decode_for_all(const decoder *dec, scratch *own, int64_t number, int64_t end,
                          const uint8_t *stored, int32_t size, shared_block *block) {
  const known_chunk *chunk = dec->chunk;
  block->items = NULL;
  if (chunk->head.kind == CHUNK_STORED) {
    block->items = stored;
    return 0;
  }
  int error;
  if (chunk->simple) {
    error = cat_decode_streams(&chunk->coding, stored, size, !chunk->at_hand, dec->g->blocksize, end,
                               0, own->other, block->bytes, &own->space->zstd);
    block->items = chunk->coding.typesize > 1 ? NULL : block->bytes[0];
  } else {
    error = cat_decode_mini(dec, own, number, stored, size, NULL);
    block->items = own->block;
  }
  return error;
}

/* Give a part its items of a block. */
static void give_items(const decoder *dec, scratch *own, const block_part *p, shared_block *block) {
  const geometry *g = dec->g;
  const int64_t *strides = dec->part->strides;
  uint8_t *dest = dec->part->dest + p->box.dest;
  if (block->items == NULL) {
    if (cat_unshuffle_part(&dec->chunk->coding, block->bytes, g, p, dest, strides)) {
      return;
    }
    unshuffle_block(dec, own, block->bytes);
    block->items = own->block;
  }
  cat_copy_items(dest, strides, block->items + p->src, p->strides, p->box.count, g->ndim,
                 g->itemsize, strides);
}

int cat_decode_shared_block(const decoder *given, scratch *own, const cat_part *parts,
                            const block_use *uses, int64_t n, cat_where *where) {
  decoder dec = *given;
  block_part p;
  see_use(&dec, parts, uses, &p);
  if (n == 1) {
    dec.direct = cat_same_strides(dec.g, dec.part->strides);
    return cat_decode_block(&dec, own, uses->i, uses->i + 1, where);
  }
  int64_t end = p.end;
  for (int64_t i = 1; i < n && end < dec.g->blocksize; i++) {
    see_use(&dec, parts, &uses[i], &p);
    end = p.end > end ? p.end : end;
  }
  wanted_block wanted = {uses->block, uses[n - 1].i, uses[n - 1].i + 1};
  const uint8_t *stored;
  shared_block block = {0};
  int32_t size;
  int error = 0;
  if (dec.chunk->whole != NULL) {
    block.items = dec.chunk->whole + uses->block * dec.g->blocksize;
  } else if (!(error = cat_find_stored_block(&dec, own, &wanted, &stored, &size, where))) {
    error = decode_for_all(&dec, own, uses->block, end, stored, size, &block);
  }
  if (error) {
    where->block = uses->block;
    return error;
  }
  for (int64_t i = 0; i < n; i++) {
    see_use(&dec, parts, &uses[i], &p);
    give_items(&dec, own, &p, &block);
  }
  return 0;
}

/* --- one part ----------------------------------------------------------------------------------- */

int cat_decode_block(const decoder *dec, scratch *own, int64_t i, int64_t upto, cat_where *where) {
  const geometry *g = dec->g;
  const int64_t *strides = dec->part->strides;
  block_part p;
  cat_find_block(g, &dec->cut, dec->order == NULL ? i : dec->order[i], strides, &p);
  wanted_block wanted = {p.box.number, i, upto};
  uint8_t *dest = dec->part->dest + p.box.dest;
  const uint8_t *stored, *block = NULL; /* from which items are to be copied */
  int32_t size;
  int error = 0;
  if (dec->chunk->whole != NULL) {
    block = dec->chunk->whole + p.box.number * g->blocksize;
  } else if (!(error = cat_find_stored_block(dec, own, &wanted, &stored, &size, where))) {
    if (dec->chunk->head.kind == CHUNK_STORED) {
      block = stored;
    } else if (dec->chunk->simple) {
      error = decode_simple(dec, own, &p, stored, size, dest, &block);
    } else {
      int whole = p.whole && dec->direct;
      error = cat_decode_mini(dec, own, p.box.number, stored, size, whole ? dest : NULL);
      block = whole ? NULL : own->block;
    }
  }
  if (error) {
    where->block = p.box.number;
  } else if (block != NULL) {
    cat_copy_items(dest, strides, block + p.src, p.strides, p.box.count, g->ndim, g->itemsize,
                   strides);
  }
  return error;
}
