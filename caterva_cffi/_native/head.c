#include "head.h"

#include <blosc2/filters-registry.h>

#include "checksums.h"
#include "chunk.h"

/* How many bytes header, offsets and dictionary have, as far as `size` bytes of a chunk tell. */
static int64_t measure_body(const geometry *g, const uint8_t *bytes, int64_t size) {
  int64_t body = HEADER + OFFSET * g->nblocks;
  if (bytes[BLOSC2_CHUNK_BLOSC2_FLAGS] & BLOSC2_USEDICT) {
    int64_t at = body;
    body += OFFSET;
    if (body <= size) {
      int32_t dictionary = load_int32(bytes + at);
      body = dictionary < 0 ? CAT_ERROR_TRUNCATED : body + dictionary;
    }
  }
  return body;
}

/* The same with room for checksums; and where the blocks are. */
static int64_t find_offsets(const cat_grid *grid, const geometry *g, int64_t size,
                            chunk_head *head) {
  int64_t body = measure_body(g, head->header, size);
  if (body < 0 || body > head->cbytes) {
    return CAT_ERROR_TRUNCATED;
  }
  head->offsets = (block_offsets){.stored = head->header + HEADER, .nblocks = g->nblocks,
                                  .body = (int32_t)body, .cbytes = head->cbytes};
  head->has_room = body <= size && cat_leaves_room(head->header, body, g->nblocks);
  if (grid->checksums || head->has_room) {
    body += cat_checksums_size(g->nblocks);
  }
  return body <= head->cbytes ? body : CAT_ERROR_TRUNCATED;
}

int64_t cat_read_head(const cat_grid *grid, const geometry *g, const uint8_t *bytes, int64_t size,
                      chunk_head *head) {
  *head = (chunk_head){.header = bytes};
  if (size < HEADER) {
    return HEADER;
  }
  head->cbytes = load_int32(bytes + BLOSC2_CHUNK_CBYTES);
  if (head->cbytes < HEADER || load_int32(bytes + BLOSC2_CHUNK_NBYTES) != g->nbytes) {
    return CAT_ERROR_GEOMETRY;
  }
  if (special_of(bytes) != BLOSC2_NO_SPECIAL) {
    int64_t most = HEADER + (int64_t)g->itemsize;
    head->kind = CHUNK_OF_ONE_VALUE;
    return head->cbytes < most ? head->cbytes : most;
  }
  if (bytes[BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED) {
    head->kind = CHUNK_STORED;
    return head->cbytes == HEADER + (int64_t)g->nbytes ? HEADER : CAT_ERROR_GEOMETRY;
  }
  if (load_int32(bytes + BLOSC2_CHUNK_BLOCKSIZE) != g->blocksize) {
    head->kind = CHUNK_AT_ONCE;
    return head->cbytes;
  }
  int64_t need = find_offsets(grid, g, size, head);
  int delta = cat_has_filter(bytes + BLOSC2_CHUNK_FILTER_CODES, BLOSC_DELTA);
  head->kind = delta ? CHUNK_AT_ONCE : CHUNK_OF_BLOCKS;
  return need > 0 && delta ? head->cbytes : need;
}

int cat_check_head(const cat_grid *grid, chunk_head *head) {
  block_offsets *offsets = &head->offsets;
  if (head->has_room) {
    int error =
        cat_find_checksums(head->header, offsets->body, offsets->nblocks, &head->checksums);
    if (error) {
      return error;
    }
  }
  if (head->checksums != NULL) {
    return 0;
  }
  int special = special_of(head->header);
  int needless = special != BLOSC2_NO_SPECIAL && special != BLOSC2_SPECIAL_VALUE;
  return grid->checksums && !needless ? CAT_ERROR_UNCHECKED : 0;
}

/* Versions of chunks that mean the same, once their flags are looked at. */
enum { OLDEST_CHUNK = 3, NEWEST_CHUNK = 6 };

int cat_check_format(const uint8_t *header) {
  int flags = header[BLOSC2_CHUNK_FLAGS], more = header[BLOSC2_CHUNK_BLOSC2_FLAGS];
  int version = header[BLOSC2_CHUNK_VERSION];
  int known = version >= OLDEST_CHUNK && version <= NEWEST_CHUNK &&
              (flags & EXTENDED) == EXTENDED && !(more & (FLAG_LAZY | BLOSC2_INSTR_CODEC)) &&
              !(header[BLOSC2_CHUNK_BLOSC2_FLAGS2] & BLOSC2_VL_BLOCKS) &&
              special_of(header) <= BLOSC2_SPECIAL_LASTID;
  return known ? 0 : CAT_ERROR_FLAGS;
}

int cat_check_codecs(const geometry *g, const uint8_t *header) {
  int codec = header[BLOSC2_CHUNK_FLAGS] >> 5;
  int32_t blocksize = load_int32(header + BLOSC2_CHUNK_BLOCKSIZE);
  if (codec == BLOSC_UDCODEC_FORMAT) {
    codec = header[UDCODEC];
    if (codec <= BLOSC2_DEFINED_CODECS_STOP || !cat_codec_is_known(codec, g->ndim, g->itemsize)) {
      return CAT_ERROR_CODEC;
    }
    if (codec < BLOSC2_USER_REGISTERED_CODECS_START &&
        (blocksize != g->blocksize || cat_is_cut(g))) {
      return CAT_ERROR_GEOMETRY; /* N-d codecs write a block of the grid, and no more */
    }
  } else if (codec != BLOSC_BLOSCLZ_FORMAT && codec != BLOSC_LZ4_FORMAT &&
             codec != BLOSC_ZLIB_FORMAT && codec != BLOSC_ZSTD_FORMAT) {
    return CAT_ERROR_CODEC;
  }
  const uint8_t *filters = header + BLOSC2_CHUNK_FILTER_CODES;
  const uint8_t *metas = header + BLOSC2_CHUNK_FILTER_META;
  /* These filters look at a block as a box of items, which it must fill. */
  int needs_boxes = cat_has_filter(filters, BLOSC_FILTER_NDCELL) ||
                    cat_has_filter(filters, BLOSC_FILTER_NDMEAN);
  int usable = cat_filters_are_known(filters) && !(needs_boxes && cat_is_cut(g)) &&
               cat_filters_fill(filters, metas, g->itemsize, blocksize, g->nbytes);
  return usable ? 0 : CAT_ERROR_FILTER;
}
