/* The block kernel: boxes of chunks, decoded and encoded block by block.
 *
 * C-Blosc2's and Caterva's own slicing needs a scratch as large as the chunk. Here each block is
 * decoded alone, in a scratch as large as a block, so that a slice costs the blocks that it touches. A
 * block that only C-Blosc2 can decode is made a chunk of its own, a "mini-chunk": the chunk's header,
 * one offset, and the block's bytes.
 *
 * Shapes and positions count items; sizes and strides count bytes. Nothing here prints. The only
 * state is the number of threads that all calls share, the thread that is asked about signals, and at
 * most four workspaces that are kept for the next call. Threads exist only inside a call, so that none
 * can be missing after a fork. If `nthreads` is 0, a call takes the threads that are free. */
#ifndef CATERVA_CFFI_KERNEL_H
#define CATERVA_CFFI_KERNEL_H

#include <stdint.h>

#include <blosc2.h>

#define CAT_MAX_DIM 16

enum {
  CAT_ERROR_TRUNCATED = -1001,   /* the chunk is longer than the bytes that were given */
  CAT_ERROR_GEOMETRY = -1002,    /* sizes in the chunk header contradict the array's shapes */
  CAT_ERROR_FLAGS = -1003,       /* a lazy, instrumented, variable-length or Blosc1 chunk */
  CAT_ERROR_CODEC = -1004,       /* a codec that is not compiled in */
  CAT_ERROR_FILTER = -1005,      /* a filter that is not compiled in */
  CAT_ERROR_OFFSET = -1006,      /* a block lies outside its chunk */
  CAT_ERROR_MISSING = -1007,     /* a block's bytes are in none of the pieces */
  CAT_ERROR_BLOCK = -1008,       /* a block does not decode to the size of a block */
  CAT_ERROR_MEMORY = -1009,
  CAT_ERROR_ENVIRONMENT = -1010, /* BLOSC_* variables change the size of blocks or items, or DELTA */
  CAT_ERROR_DIFFERENT = -1011,   /* a chunk whose blocks cannot stay as they are */
  CAT_ERROR_INTERRUPTED = -1012, /* a signal wants the calling thread back */
  CAT_ERROR_CHECKSUM = -1013,    /* the checksum is another one: bytes were changed */
  CAT_ERROR_UNCHECKED = -1014,   /* a chunk without the checksums that the array's chunks have */
  CAT_ERROR_FILE = -1015,        /* a file cannot be read; the system says why */
  CAT_ERROR_END = -1016,         /* a file ends before the chunk in it does */
};

/* An array's shape and its partition, and whether its blocks must have checksums. If a chunk has some,
 * they are compared in any case. `cut` arrays have one dimension, and chunks without padding, in which
 * the last block may be shorter: they are only decoded. */
typedef struct {
  int32_t ndim;
  int32_t itemsize;
  int64_t shape[CAT_MAX_DIM];
  int64_t chunk[CAT_MAX_DIM];
  int64_t block[CAT_MAX_DIM];
  int32_t checksums;
  int32_t cut;
} cat_grid;

/* Some compressed bytes of a chunk, in memory: `size` bytes, from byte `start` of the chunk on. */
typedef struct {
  int64_t start;
  int64_t size;
  const uint8_t *data;
} cat_piece;

/* `count` items along each dimension, from `start` on, every `step`-th (step >= 1). */
typedef struct {
  int64_t start[CAT_MAX_DIM];
  int64_t count[CAT_MAX_DIM];
  int64_t step[CAT_MAX_DIM];
} cat_box;

/* Where a chunk lies in a file: it begins at `start`, and does not go beyond `stop`. With a path, the
 * call opens and closes the file, which may end before `stop`. Without one, the descriptor is used. */
typedef struct {
  const char *path; /* or NULL */
  int descriptor;
  int64_t start;
  int64_t stop;
  int64_t gap; /* bytes between two blocks that are rather read than left out */
} cat_place;

/* A box of one chunk, the bytes that it needs, and its destination: item k goes to `dest` + sum(k[i] *
 * strides[i]). If there is a place, the bytes are in a file, else in pieces. Pieces are sorted by start
 * and do not overlap; the first one starts at 0 and holds the chunk's head. */
typedef struct {
  const cat_piece *pieces;
  int64_t npieces;
  const cat_place *place; /* or NULL */
  cat_box box;
  uint8_t *dest;
  int64_t strides[CAT_MAX_DIM];
} cat_part;

/* Some bytes of a new chunk: `size` of them, from byte `start` on of the chunk as it was, if they are
 * `kept`, or else of what is new. */
typedef struct {
  int64_t start;
  int64_t size;
  int32_t kept;
} cat_span;

typedef struct {
  uint8_t codec;
  uint8_t codec_meta;
  uint8_t clevel;
  uint8_t use_dict;
  int32_t splitmode;
  uint8_t filters[6];
  uint8_t filters_meta[6];
} cat_compression;

/* A chunk to compress. Its first `extent` items along each dimension come from `src`, where item k lies at
 * sum(k[i] * strides[i]); the other items are zeros. `dest` has room for `destsize` bytes; `cbytes` is set
 * to the chunk's size. */
typedef struct {
  const uint8_t *src;
  int64_t strides[CAT_MAX_DIM];
  int64_t extent[CAT_MAX_DIM];
  uint8_t *dest;
  int64_t destsize;
  int64_t cbytes;
} cat_source;

/* Where an error is: the number of the chunk (in cat_decode, of the part; in cat_encode_many, of the
 * source) and of the block in it; -1 if it concerns all of them. `system` is the system's error for a
 * file, or 0. */
typedef struct {
  int64_t chunk;
  int64_t block;
  int system;
} cat_where;

/* How many threads all calls share that have no number of their own; the calling threads count. */
int cat_get_nthreads(void);
void cat_set_nthreads(int n);

/* Forget the threads of calls that a fork has cut off. */
void cat_reset_threads(void);

/* Let long calls by one thread ask now and then whether to stop; if so, they return
 * CAT_ERROR_INTERRUPTED. With NULL, they never ask. Not to be called while calls run. */
void cat_set_interruptible(uint64_t thread, int (*ask)(void));

/* Find which bytes of a chunk some boxes of it need, from its first `size` bytes. `need` is set to the
 * number of first bytes that planning and decoding need. Returns 0 if there are fewer than these, or if
 * no other bytes are needed. Else returns the number of ranges, and fills `ranges` with as many starts
 * and stops as `capacity` allows, ascending; ranges at most `gap` bytes apart are one. Or returns an
 * error code. */
int64_t cat_plan(const cat_grid *grid, const uint8_t *bytes, int64_t size, const cat_box *boxes,
                 int64_t nboxes, int64_t gap, int64_t *need, int64_t *ranges, int64_t capacity,
                 cat_where *where);

/* Decode boxes of chunks. If the next part is of the same chunk, a thread uses again what it found out
 * about the chunk. Returns 0 or an error code. */
int cat_decode(const cat_grid *grid, const cat_part *parts, int64_t nparts, int nthreads,
               cat_where *where);

/* Do the same, but decode each block once for all parts that want items of it. Parts share blocks if
 * they follow each other and have the same pieces or place. */
int cat_decode_shared(const cat_grid *grid, const cat_part *parts, int64_t nparts, int nthreads,
                      cat_where *where);

/* Decode a box of an array whose chunks are in memory. The super-chunk must not change meanwhile. */
int cat_read(const cat_grid *grid, blosc2_schunk *schunk, const cat_box *box, uint8_t *dest,
             const int64_t *strides, int nthreads, cat_where *where);

/* The most bytes of a compressed chunk, or CAT_ERROR_GEOMETRY. */
int64_t cat_encode_bound(const cat_grid *grid);

/* Compress a chunk. Its first `extent` items along each dimension come from `src`, where item k lies at
 * sum(k[i] * strides[i]); the other items are zeros. The source is only read. The bytes do not depend
 * on the number of threads. Returns the chunk's size in bytes or an error code. */
int64_t cat_encode(const cat_grid *grid, const cat_compression *compression, const uint8_t *src,
                   const int64_t *strides, const int64_t *extent, uint8_t *dest, int64_t destsize,
                   int nthreads, cat_where *where);

/* Compress chunks of one grid; threads share them out, if they are many or small. Returns 0 or an error
 * code. The bytes are those of cat_encode. */
int cat_encode_many(const cat_grid *grid, const cat_compression *compression, cat_source *sources,
                    int64_t n, int nthreads, cat_where *where);

/* Replace a box of a chunk: only the blocks that it touches are decoded, changed and compressed, the
 * others stay as they are. Item k of the box comes from sum(k[i] * strides[i]). Returns the new
 * chunk's size in bytes or an error code; CAT_ERROR_DIFFERENT asks for decoding and encoding all. */
int64_t cat_update(const cat_grid *grid, const cat_compression *compression, const uint8_t *chunk,
                   int64_t cbytes, const cat_box *box, const uint8_t *src, const int64_t *strides,
                   uint8_t *dest, int64_t destsize, int nthreads, cat_where *where);

/* The most new bytes of a chunk of which a box is replaced, or an error code; and the most spans. */
int64_t cat_update_bound(const cat_grid *grid, const cat_box *box, int64_t *nspans);

/* Plan the same for a chunk in a file, of which only the head and blocks that the box touches are read.
 * `fresh` gets the bytes that are new: head and changed blocks; `spans`, what the new chunk is made of.
 * Blocks stay in the order in which they are stored. Returns the new chunk's size in bytes or an error
 * code, as above. */
int64_t cat_plan_update(const cat_grid *grid, const cat_compression *compression,
                        const cat_place *place, const cat_box *box, const uint8_t *src,
                        const int64_t *strides, uint8_t *fresh, int64_t size, cat_span *spans,
                        int64_t *nspans, int nthreads, cat_where *where);

/* Replace a box in the chunk's own memory, if each new block fits in the place of the old one and leaves
 * little of it unused. Returns 1 if it was done, 0 if it cannot be, or an error code. Anything is
 * written only if it returns 1. */
int cat_update_in_place(const cat_grid *grid, const cat_compression *compression, uint8_t *chunk,
                        int64_t cbytes, const cat_box *box, const uint8_t *src,
                        const int64_t *strides, int nthreads, cat_where *where);

#endif
