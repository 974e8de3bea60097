/* Boxes of chunks, decoded: what the files of decoding share. */
#ifndef CATERVA_CFFI_DECODE_H
#define CATERVA_CFFI_DECODE_H

#include "chunk.h"
#include "geometry.h"
#include "head.h"
#include "streams.h"
#include "workspace.h"

/* What is known of a chunk after a part of it was decoded; the next part is often of the same chunk. */
typedef struct {
  const uint8_t *bytes; /* its first ones; NULL before there was a chunk */
  int64_t size;         /* of these */
  uint8_t *read;        /* the same, if they were read from a file; to be freed */
  cat_place place;      /* of a chunk in a file */
  int descriptor;       /* of that file */
  chunk_head head;
  int64_t asked;        /* how many blocks its parts touched so far */
  uint8_t *whole;       /* all its items, if blocks cannot be decoded alone; or NULL */
  int simple;           /* blocks are decoded without C-Blosc2, by the coding of their streams */
  stream_coding coding;
  int at_hand;          /* simple, and all in one piece: then no block's end need be known */
} known_chunk;

/* A block that a part has items in. */
typedef struct {
  int64_t part;
  int64_t i;     /* among the blocks that the part touches */
  int64_t block; /* its number */
  uint64_t key;  /* by which the uses of a chunk are sorted */
} block_use;

/* What a thread decodes with, one part after the other; all zeros at first. */
typedef struct {
  known_chunk chunk;
  workspace *space;
  uint8_t *block; /* in the workspace: one block, decoded */
  uint8_t *other; /* behind that: one block, not yet unshuffled, or a mini-chunk */
  int64_t mini;   /* bytes for which the mini-chunk has room; 0 before it is begun */
  int64_t run_start, run_stop; /* the range of the chunk that the workspace's stored bytes hold */
  const cat_part *ahead;       /* parts that are decoded next */
  int64_t nahead;
  const block_use *uses;       /* or uses of blocks of this chunk, one after the other */
  int64_t nuses;
  const cat_part *parts, *parts_end; /* all parts of the call */
  const cat_part *heads_told;        /* the heads of those in front of it were told */
  const block_use *first_use;  /* and all uses, if parts share blocks */
  int64_t uses_stop;
  int64_t told;                /* before which of a part's blocks, or of all uses, all were told */
  int64_t told_bytes;          /* of them, not read since; see ahead.c */
  blosc2_context *context;
  plugin_context *plugin;
} scratch;

/* One part of one chunk, as all its threads see it. */
typedef struct {
  const cat_grid *grid;
  const geometry *g;
  const cat_part *part;
  const known_chunk *chunk;
  cutting cut;  /* of the box, at blocks */
  int64_t task_blocks;  /* how many a task decodes */
  const int64_t *order; /* these blocks by their index, as they are stored; NULL for C order */
  int direct;   /* items of a block lie in the destination as they do in a block */
} decoder;

/* --- parts (decode_part.c) ---------------------------------------------------------------------- */

/* Bytes that a task decodes; starting a thread costs as much as 50 KiB. */
enum { DECODE_TASK_BYTES = 512 * 1024 };

/* Decode a part, with the scratch of the calling thread. `g` is the geometry of `grid`. With an error,
 * `where->block` is written. */
int cat_decode_part(const cat_grid *grid, const geometry *g, const cat_part *part, int nthreads,
                    scratch *own, cat_where *where);

/* Fill a part of a chunk in which every item is the same (one_value.c). */
int cat_fill_part(const decoder *dec);

/* --- chunks (known_chunk.c) --------------------------------------------------------------------- */

/* Know the chunk that the part is of. */
int cat_know_chunk(const decoder *dec, scratch *own, cat_where *where);

/* Get ready to find, or to decode, so many more blocks of the chunk. */
int cat_prepare_chunk(const decoder *dec, scratch *own, int64_t more, cat_where *where);

/* --- blocks (decode_block.c) -------------------------------------------------------------------- */

/* Decode the i-th of the blocks that the part touches, in the decoder's order, to where its items go.
 * This thread decodes the blocks up to `upto` next. */
int cat_decode_block(const decoder *dec, scratch *own, int64_t i, int64_t upto, cat_where *where);

/* Decode a block once for several parts of its chunk. */
int cat_decode_shared_block(const decoder *dec, scratch *own, const cat_part *parts,
                            const block_use *uses, int64_t n, cat_where *where);

/* Let C-Blosc2 decode a block, to `dest` or else to the scratch (decode_blosc2.c). */
int cat_decode_mini(const decoder *dec, scratch *own, int64_t number, const uint8_t *stored,
                    int32_t size, uint8_t *dest);

/* Let C-Blosc2 decode a whole chunk, to new memory. */
int cat_decode_at_once(const decoder *dec, scratch *own, uint8_t **whole, cat_where *where);

/* --- stored bytes (stored.c) -------------------------------------------------------------------- */

/* The chunk's bytes from `start` to `stop`, or NULL where they are not in memory. */
const uint8_t *cat_find_bytes(const decoder *dec, int64_t start, int64_t stop);

/* Open the file that holds the chunk of a part, and read the chunk's head. */
int cat_read_chunk_head(const decoder *dec, scratch *own, cat_where *where);

/* A block whose stored bytes are wanted. */
typedef struct {
  int64_t number;
  int64_t i, upto; /* where it is in the decoder's order; those up to `upto` are wanted soon */
} wanted_block;

/* Find where a block is stored in its chunk. */
int cat_find_block_range(const decoder *dec, int64_t number, int32_t *start, int32_t *end);

/* Find the stored bytes of a block, and compare their checksum, if there is one. The bytes may be in
 * the thread's scratch. No thread gets the bytes of a block in another way. Returns 0 or an error code. */
int cat_find_stored_block(const decoder *dec, scratch *own, const wanted_block *wanted,
                          const uint8_t **bytes, int32_t *size, cat_where *where);

/* --- what is read next, where it has to come from a disk (ahead.c) ------------------------------ */

/* Tell the system that the first `size` bytes of the next parts' chunks are wanted. */
void cat_tell_heads(const decoder *dec, scratch *own, int64_t size);

/* Tell it that these bytes of the chunk are wanted, of the i-th block, and then those of the next blocks. */
void cat_tell_blocks(const decoder *dec, scratch *own, int64_t i, int32_t start, int32_t stop);

/* --- scratch (scratch.c) ------------------------------------------------------------------------ */

/* Make ready to decode blocks of a chunk. Returns 0 or an error code. */
int cat_prepare_scratch(const decoder *dec, scratch *own);

/* Reserve memory for a block, and `behind` bytes behind it; the old contents are gone. */
int cat_reserve_block(const decoder *dec, scratch *own, int64_t behind);

/* Forget the chunk that it knows. */
void cat_forget_chunk(scratch *own);

/* Free what a scratch holds; `own` is the scratch. */
void cat_free_scratch(void *own);

#endif
