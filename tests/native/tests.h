/* What the tests share: random cases, plain references to compare with, and checks.
 *
 * Everything handed to the kernel lies in memory of exactly its size, so that AddressSanitizer sees
 * any step beyond it. */
#ifndef CATERVA_CFFI_NATIVE_TESTS_H
#define CATERVA_CFFI_NATIVE_TESTS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <blosc2.h>

#include "kernel.h"

/* --- checks ------------------------------------------------------------------------------------- */

/* End the program, naming the round that failed, where a condition does not hold. */
#define CHECK(condition, ...)                           \
  do {                                                  \
    if (!(condition)) {                                 \
      fail(__FILE__, __LINE__, #condition, __VA_ARGS__); \
    }                                                   \
  } while (0)

_Noreturn void fail(const char *file, int line, const char *condition, const char *format, ...);

/* Say what is tested now, for `fail`. */
void begin_case(const char *test, uint64_t seed, int64_t round);

/* Count that something happened; `print_counts` tells how often each did. */
enum event {
  CODEC_EVENTS, /* one for each of the 256 codec numbers, then one for each filter number */
  FILTER_EVENTS = CODEC_EVENTS + 256,
  CHUNK_COMPRESSED = FILTER_EVENTS + 256,
  CHUNK_PLAIN,
  CHUNK_SPECIAL,
  CHUNK_WITH_DICTIONARY,
  CHUNK_WITH_CHECKSUMS,
  CHUNK_REORDERED,
  CHUNK_OF_SEVERAL_TASKS,
  DECODED_FROM_PIECES,
  DECODED_TOGETHER,
  ENCODED_TOGETHER,
  DECODED_FROM_FILE,
  DECODED_FROM_LARGE_FILE,
  FILE_REFUSED,
  PIECE_MISSED,
  NOT_ENCODED,
  DAMAGE_REFUSED,
  DAMAGE_DECODED,
  READ_BY_THREADS,
  CHUNK_CHANGED,
  CHUNK_CHANGED_IN_PLACE,
  CHUNK_CHANGED_IN_FILE,
  ARGUMENT_REFUSED,
  EVENTS,
};
void count_event(int event);
void print_counts(void);

/* --- random numbers ----------------------------------------------------------------------------- */

typedef struct {
  uint64_t state;
} generator;

uint64_t next_random(generator *g);
int64_t between(generator *g, int64_t low, int64_t high); /* both included */
int one_in(generator *g, int n);

/* --- memory ------------------------------------------------------------------------------------- */

void *allocate(int64_t size); /* of exactly that size; never NULL */
uint8_t *copy_bytes(const uint8_t *bytes, int64_t size);
void fill_random(generator *g, uint8_t *bytes, int64_t size, int64_t itemsize);

/* --- items in memory ----------------------------------------------------------------------------- */

/* Memory, and where items lie in it. */
typedef struct {
  int ndim;
  int64_t itemsize;
  int64_t count[CAT_MAX_DIM];
  int64_t strides[CAT_MAX_DIM];
  int64_t first; /* bytes before the first item */
  int64_t span;  /* bytes of memory, in all */
} memory;

memory dense_memory(int ndim, int64_t itemsize, const int64_t *count);

/* Any order of dimensions, gaps, negative strides and alignment; sources may repeat items. */
memory random_memory(generator *g, int ndim, int64_t itemsize, const int64_t *count, int is_source);

int64_t count_items(int ndim, const int64_t *count);

/* The next index in C order; 0 behind the last. */
int advance(int64_t *index, const int64_t *count, int ndim);

/* Copy the items of `box` (NULL: all) from one memory to another, one by one. */
void copy_box(uint8_t *dest, const memory *to, const uint8_t *src, const memory *from,
              const cat_box *box);

/* --- cases -------------------------------------------------------------------------------------- */

/* How chunks are made: an array's grid and what compresses it. */
typedef struct {
  cat_grid grid;
  cat_compression compression;
  int lossy;
} sample;

typedef struct {
  uint8_t *data;
  int64_t size;
} bytes;

void remember_sample(const sample *s); /* for `fail` to print */
sample random_sample(generator *g, int64_t chunk_bytes);
cat_box random_box(generator *g, int ndim, const int64_t *shape);
int64_t count_chunk_bytes(const cat_grid *grid); /* in whole blocks */
int64_t count_chunk_blocks(const cat_grid *grid);

int is_special(const uint8_t *chunk);
int is_plain(const uint8_t *chunk);

/* Encode into memory of exactly the bound. An error leaves `data` NULL and its code in `size`. */
bytes encode(const sample *s, const uint8_t *src, const memory *from, int nthreads);

/* Store the blocks in another order, as several threads of C-Blosc2 do, if that can be. The chunk has
 * no checksums. */
void reorder_blocks(generator *g, bytes *chunk, int64_t nblocks);

/* A box of a whole chunk or array. */
cat_box whole_box(int ndim, const int64_t *shape);

/* A box of a chunk, decoded to where a memory has its items. */
cat_part part_of(const cat_piece *pieces, int64_t npieces, const cat_box *box, uint8_t *dest,
                 const memory *to);

/* Decode a box into memory of random strides and compare it with what the dense items of the chunk say. */
void check_decoding(generator *g, const sample *s, const cat_piece *pieces, int64_t npieces,
                    const cat_box *box, const uint8_t *items, int nthreads);

/* The same from where a part says that the chunk's bytes are. */
void check_part(generator *g, const sample *s, const cat_part *source, const cat_box *box,
                const uint8_t *items, int nthreads);

/* --- files (files.c) ---------------------------------------------------------------------------- */

/* How many are open, of files and directories. Sanitizers talk to their symbolizer by pipes. */
int count_descriptors(void);

typedef struct {
  char path[512];
  int descriptor;
} test_file;

test_file new_file(void);
void write_file(const test_file *file, int64_t at, const uint8_t *content, int64_t size);
void cut_file(const test_file *file, int64_t size);
void remove_file(const test_file *file);

/* Write a chunk into a file, with other bytes behind it, which may be open already or not. */
cat_place place_chunk(generator *g, const test_file *file, int64_t start, const bytes *chunk);

/* As check_decoding, from a file. */
void check_decoding_from_file(generator *g, const sample *s, const bytes *chunk, const cat_box *box,
                              const uint8_t *items, int nthreads);

/* --- tests -------------------------------------------------------------------------------------- */

void test_round_trip(generator *g);
void test_threads_agree_on_errors(generator *g);
void test_changes(generator *g);
void test_special_chunks(generator *g);
void test_many_chunks(generator *g);
void test_many_sources(generator *g);
void test_files(generator *g);
void test_damage(generator *g);
void test_arguments(generator *g);
void test_super_chunks(generator *g);

#endif
