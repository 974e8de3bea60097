/* The head of a chunk: its header and all behind that up to its first block. Nothing in it is believed
 * before it is checked. */
#ifndef CATERVA_CFFI_HEAD_H
#define CATERVA_CFFI_HEAD_H

#include "geometry.h"
#include "offsets.h"

enum chunk_kind {
  CHUNK_OF_ONE_VALUE, /* its header says which, or an item behind the header */
  CHUNK_STORED,       /* blocks follow the header as they are */
  CHUNK_OF_BLOCKS,    /* each can be decoded alone */
  CHUNK_AT_ONCE,      /* they cannot: blocks of another size than the grid's, or DELTA, which refers
                         to the first one */
};

typedef struct {
  const uint8_t *header;
  int32_t cbytes; /* of the chunk */
  enum chunk_kind kind;
  block_offsets offsets;    /* unless `stored` is NULL: of compressed blocks of the grid's size */
  int has_room;             /* for checksums, between these and the first block */
  const uint8_t *checksums; /* of the blocks; NULL before they were looked for, or without any */
} chunk_head;

/* Read it from the first `size` bytes of a chunk. Returns how many of these it takes: more than `size`
 * where that is not enough. With fewer than these, only the kind may be used. Or returns an error
 * code. */
int64_t cat_read_head(const cat_grid *grid, const geometry *g, const uint8_t *bytes, int64_t size,
                      chunk_head *head);

/* Find the checksums in a head that is there in full. Returns 0, CAT_ERROR_CHECKSUM where it is
 * damaged, or CAT_ERROR_UNCHECKED where the grid has checksums and the chunk has none. */
int cat_check_head(const cat_grid *grid, chunk_head *head);

/* Whether a header is of a chunk that may be decoded here. The first asks for its format, the second
 * for its codec and filters. Returns 0 or an error code. */
int cat_check_format(const uint8_t *header);
int cat_check_codecs(const geometry *g, const uint8_t *header);

#endif
