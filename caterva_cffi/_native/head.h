/* The head of a chunk: its header, and all behind that up to its first block. Everything in it is
 * checked before it is used. */
#ifndef CATERVA_CFFI_HEAD_H
#define CATERVA_CFFI_HEAD_H

#include "geometry.h"
#include "offsets.h"

enum chunk_kind {
  CHUNK_OF_ONE_VALUE, /* its header names the value, or an item behind the header is it */
  CHUNK_STORED,       /* blocks follow the header as they are */
  CHUNK_OF_BLOCKS,    /* each can be decoded alone */
  CHUNK_AT_ONCE,      /* blocks cannot be decoded alone: their size is not the grid's, or DELTA refers
                         to the first block */
};

typedef struct {
  const uint8_t *header;
  int32_t cbytes; /* of the chunk */
  enum chunk_kind kind;
  block_offsets offsets;    /* of compressed blocks of the grid's size; else `stored` is NULL */
  int has_room;             /* for checksums, between the offsets and the first block */
  const uint8_t *checksums; /* of the blocks; NULL if there are none, or before cat_check_head */
} chunk_head;

/* Read a head from the first `size` bytes of a chunk. Returns how many bytes the head has, or an error
 * code. If the head has more than `size` bytes, only its kind may be used. */
int64_t cat_read_head(const cat_grid *grid, const geometry *g, const uint8_t *bytes, int64_t size,
                      chunk_head *head);

/* Find the checksums in a complete head. Returns 0, CAT_ERROR_CHECKSUM if it is damaged, or
 * CAT_ERROR_UNCHECKED if the grid has checksums and the chunk has none. */
int cat_check_head(const cat_grid *grid, chunk_head *head);

/* Whether a chunk with this header may be decoded here. The first function checks its format, the
 * second its codec and filters. They return 0 or an error code. */
int cat_check_format(const uint8_t *header);
int cat_check_codecs(const geometry *g, const uint8_t *header);

#endif
