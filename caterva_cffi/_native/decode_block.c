#include <string.h>

#include "decode.h"
#include "rows.h"

/* Put streams together to a block in the scratch, where they do not lie yet. */
static void unshuffle_block(const decoder *dec, scratch *own, const uint8_t *const *bytes) {
  int typesize = dec->chunk->layout.typesize;
  int64_t length = dec->g->blocksize / typesize;
  for (int j = 0; j < typesize; j++) {
    if (bytes[j] != own->other + j * length) {
      memcpy(own->other + j * length, bytes[j], (size_t)length);
    }
  }
  blosc2_unshuffle(typesize, dec->g->blocksize, own->other, own->block);
}

/* Decode the wanted items of a block from its streams. Where they are not in the destination then,
 * `block` is where the whole block is. */
static int decode_simple(const decoder *dec, scratch *own, const block_part *p,
                         const uint8_t *stored, int32_t size, uint8_t *dest,
                         const uint8_t **block) {
  const geometry *g = dec->g;
  const stream_layout *layout = &dec->chunk->layout;
  const uint8_t *bytes[BLOSC_MAX_TYPESIZE];
  int whole = p->whole && dec->direct, shuffled = layout->typesize > 1;
  uint8_t *streams = whole && !shuffled ? dest : own->other;
  int error = cat_decode_streams(layout, stored, size, !dec->chunk->at_hand, g->blocksize, p->end, whole,
                                 streams, bytes, &own->space->zstd);
  if (error) {
    return error;
  }
  if (!shuffled) {
    *block = whole ? NULL : bytes[0];
  } else if (whole) {
    blosc2_unshuffle(layout->typesize, g->blocksize, bytes[0], dest);
  } else if (!cat_unshuffle_part(layout, bytes, g, p, dest, dec->part->strides)) {
    unshuffle_block(dec, own, bytes);
    *block = own->block;
  }
  return 0;
}

int cat_decode_block(const decoder *dec, scratch *own, int64_t place, int64_t upto,
                     cat_where *where) {
  const geometry *g = dec->g;
  const int64_t *strides = dec->part->strides;
  block_part p;
  cat_find_block(g, &dec->cut, place, strides, &p);
  wanted_block wanted = {p.cell.number, place, upto};
  uint8_t *dest = dec->part->dest + p.cell.dest;
  const uint8_t *stored, *block = NULL; /* from which items are to be copied */
  int32_t size;
  int error = 0;
  if (dec->chunk->whole != NULL) {
    block = dec->chunk->whole + p.cell.number * g->blocksize;
  } else if (!(error = cat_find_stored_block(dec, own, &wanted, &stored, &size, where))) {
    if (dec->chunk->head.kind == CHUNK_STORED) {
      block = stored;
    } else if (dec->chunk->simple) {
      error = decode_simple(dec, own, &p, stored, size, dest, &block);
    } else {
      int whole = p.whole && dec->direct;
      error = cat_decode_mini(dec, own, stored, size, whole ? dest : NULL);
      block = whole ? NULL : own->block;
    }
  }
  if (error) {
    where->block = p.cell.number;
  } else if (block != NULL) {
    cat_copy_items(dest, strides, block + p.src, p.strides, p.cell.count, g->ndim, g->itemsize,
                   strides);
  }
  return error;
}
