/* Items copied between memory of different strides, row by row. */
#ifndef CATERVA_CFFI_ROWS_H
#define CATERVA_CFFI_ROWS_H

#include <stdint.h>

/* Two dimensions of items, in two memories: `n[0]` rows of `n[1]` items. */
typedef struct {
  int64_t n[2];
  int64_t dest[2]; /* strides in bytes */
  int64_t src[2];  /* in whatever units the mover has */
} rows;

/* Moves rows of items, from `src` on. */
typedef void (*row_mover)(const void *state, uint8_t *dest, int64_t src, const rows *r);

/* Call `move` for all rows of items that go from one memory to another. Rows are as few and as long as
 * possible, and in the order of `outer`: the strides of the memory that does not fit the cache. */
void cat_for_rows(uint8_t *dest, const int64_t *dest_strides, int64_t src,
                  const int64_t *src_strides, const int64_t *count, int ndim, const int64_t *outer,
                  row_mover move, const void *state);

/* Copy items between memory of different strides, in the order of `outer`. */
void cat_copy_items(uint8_t *dest, const int64_t *dest_strides, const uint8_t *src,
                    const int64_t *src_strides, const int64_t *count, int ndim, int64_t itemsize,
                    const int64_t *outer);

/* Copy `n` runs of `size` bytes each. */
void cat_copy_runs(uint8_t *dest, int64_t dest_stride, const uint8_t *src, int64_t src_stride,
                   int64_t n, int64_t size);

enum { CACHE_LINE = 64, ROWS_AHEAD = 8, SHORT_ROW = 512 };

/* Whether the processor expects rows that are so far apart. */
static inline int are_close(int64_t stride) { return stride < SHORT_ROW && stride > -SHORT_ROW; }

/* Tell the processor which short row will be read or written some rows later. Rows of a block lie so
 * far apart in an array that it does not expect them. Measured with rows of 128 bytes: about a fifth
 * less time. */
static inline void expect_row(const uint8_t *start, int64_t stride, int64_t size, int written) {
#if defined(__GNUC__) || defined(__clang__)
  if (size <= SHORT_ROW) {
    const uint8_t *row = (const uint8_t *)((uintptr_t)start + (uintptr_t)(stride * ROWS_AHEAD));
    for (int64_t line = 0; line < size; line += 64) {
      if (written) {
        __builtin_prefetch(row + line, 1);
      } else {
        __builtin_prefetch(row + line, 0);
      }
    }
  }
#else
  (void)start, (void)stride, (void)size, (void)written;
#endif
}

#endif
