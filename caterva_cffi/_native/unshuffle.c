/* Items put together from their bytes. */
#include <string.h>

#include "rows.h"
#include "streams.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define HAVE_SSE2 1
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#define HAVE_NEON 1
#endif

#define GATHER(SIZE)                           \
  for (int64_t i = first; i < n; i++) {        \
    uint8_t *item = dest + i * dest_stride;    \
    for (int j = 0; j < (SIZE); j++) {         \
      item[j] = bytes[j][at + i * stride];     \
    }                                          \
  }

/* Put the items of a row together one by one, beginning with number `first`. */
static void gather_items(const uint8_t *const *bytes, int size, uint8_t *dest, int64_t dest_stride,
                         int64_t at, int64_t stride, int64_t first, int64_t n) {
  switch (size) { /* a constant size lets the compiler unroll */
    case 2: GATHER(2) break;
    case 4: GATHER(4) break;
    case 8: GATHER(8) break;
    default: GATHER(size)
  }
}

enum { WOVEN = 16 }; /* items at a time */

#if HAVE_SSE2
#define LOAD(j) _mm_loadu_si128((const __m128i *)(p[j] + at))
#define STORE(k, value) _mm_storeu_si128((__m128i *)to + (k), (value))
#endif

static inline void weave_2(const uint8_t *const *p, int64_t at, uint8_t *to) {
#if HAVE_SSE2
  __m128i a = LOAD(0), b = LOAD(1);
  STORE(0, _mm_unpacklo_epi8(a, b));
  STORE(1, _mm_unpackhi_epi8(a, b));
#elif HAVE_NEON
  uint8x16x2_t both = {{vld1q_u8(p[0] + at), vld1q_u8(p[1] + at)}};
  vst2q_u8(to, both);
#else
  for (int i = 0; i < WOVEN; i++) {
    to[2 * i] = p[0][at + i], to[2 * i + 1] = p[1][at + i];
  }
#endif
}

static inline void weave_4(const uint8_t *const *p, int64_t at, uint8_t *to) {
#if HAVE_SSE2
  __m128i a = LOAD(0), b = LOAD(1), c = LOAD(2), d = LOAD(3);
  __m128i ab0 = _mm_unpacklo_epi8(a, b), ab1 = _mm_unpackhi_epi8(a, b);
  __m128i cd0 = _mm_unpacklo_epi8(c, d), cd1 = _mm_unpackhi_epi8(c, d);
  STORE(0, _mm_unpacklo_epi16(ab0, cd0));
  STORE(1, _mm_unpackhi_epi16(ab0, cd0));
  STORE(2, _mm_unpacklo_epi16(ab1, cd1));
  STORE(3, _mm_unpackhi_epi16(ab1, cd1));
#elif HAVE_NEON
  uint8x16x4_t all = {{vld1q_u8(p[0] + at), vld1q_u8(p[1] + at), vld1q_u8(p[2] + at),
                       vld1q_u8(p[3] + at)}};
  vst4q_u8(to, all);
#else
  for (int i = 0; i < WOVEN; i++) {
    to[4 * i] = p[0][at + i], to[4 * i + 1] = p[1][at + i];
    to[4 * i + 2] = p[2][at + i], to[4 * i + 3] = p[3][at + i];
  }
#endif
}

static inline void weave_8(const uint8_t *const *p, int64_t at, uint8_t *to) {
#if HAVE_SSE2
  __m128i w[8], x[8];
  for (int j = 0; j < 4; j++) { /* pairs of bytes */
    __m128i even = LOAD(2 * j), odd = LOAD(2 * j + 1);
    w[j] = _mm_unpacklo_epi8(even, odd);
    w[j + 4] = _mm_unpackhi_epi8(even, odd);
  }
  for (int h = 0; h < 8; h += 4) { /* halves of items */
    x[h] = _mm_unpacklo_epi16(w[h], w[h + 1]);
    x[h + 1] = _mm_unpackhi_epi16(w[h], w[h + 1]);
    x[h + 2] = _mm_unpacklo_epi16(w[h + 2], w[h + 3]);
    x[h + 3] = _mm_unpackhi_epi16(w[h + 2], w[h + 3]);
  }
  for (int h = 0; h < 8; h += 4) {
    STORE(h, _mm_unpacklo_epi32(x[h], x[h + 2]));
    STORE(h + 1, _mm_unpackhi_epi32(x[h], x[h + 2]));
    STORE(h + 2, _mm_unpacklo_epi32(x[h + 1], x[h + 3]));
    STORE(h + 3, _mm_unpackhi_epi32(x[h + 1], x[h + 3]));
  }
#else
  for (int i = 0; i < WOVEN; i++) {
    for (int j = 0; j < 8; j++) {
      to[8 * i + j] = p[j][at + i];
    }
  }
#endif
}

static inline void weave(int size, const uint8_t *const *p, int64_t at, uint8_t *to) {
  switch (size) {
    case 2: weave_2(p, at, to); break;
    case 4: weave_4(p, at, to); break;
    default: weave_8(p, at, to); break;
  }
}

/* Items in whose bytes rows lie. */
typedef struct {
  const uint8_t *const *bytes;
  int size;
  int64_t n; /* in the block */
} shuffled;

/* Rows of items that lie side by side on both sides. A constant size makes this a loop of its own
 * for each, in which the pointers stay in registers. */
static inline void weave_rows(int size, const shuffled *from, uint8_t *dest, int64_t at,
                              const rows *r) {
  const uint8_t *p[8];
  int64_t n = r->n[1], row_dest = r->dest[0], row_src = r->src[0];
  for (int j = 0; j < size; j++) {
    p[j] = from->bytes[j];
  }
  for (int64_t row = r->n[0]; row > 0; row--, dest += row_dest, at += row_src) {
    int64_t i = 0;
    expect_row(dest, row_dest, n * size, 1);
    for (; i + WOVEN <= n; i += WOVEN) {
      weave(size, p, at + i, dest + i * size);
    }
    if (i == n) {
      continue;
    }
    if (n > WOVEN) { /* some items twice */
      weave(size, p, at + n - WOVEN, dest + (n - WOVEN) * size);
    } else if (at + WOVEN <= from->n) {
      uint8_t woven[WOVEN * 8];
      weave(size, p, at, woven);
      memcpy(dest, woven, (size_t)(n * size));
    } else {
      gather_items(from->bytes, size, dest, size, at, 1, 0, n);
    }
  }
}

enum {
  WORTH_WEAVING = 4,    /* items of a row */
  TOGETHER_BYTES = 512, /* of short rows */
};

/* Short rows that are one run in the block: woven together, then copied to their places. */
static inline void weave_runs(int size, const shuffled *from, uint8_t *dest, int64_t stride,
                              int64_t at, int64_t n, int64_t length) {
  uint8_t woven[TOGETHER_BYTES + WOVEN * 8];
  int64_t most = TOGETHER_BYTES / (length * size);
  for (; n > 0; n -= most, at += most * length, dest += most * stride) {
    int64_t some = n < most ? n : most, items = some * length, i = 0;
    for (; i < items && at + i + WOVEN <= from->n; i += WOVEN) {
      weave(size, from->bytes, at + i, woven + i * size);
    }
    if (i < items) {
      gather_items(from->bytes, size, woven, size, at, 1, i, items);
    }
    cat_copy_runs(dest, stride, woven, length * size, some, length * size);
  }
}

/* Whether rows are short, and one run in the block. Those of whole weaves go to their places at once. */
static int are_runs(const shuffled *from, const rows *r, int64_t *stride, int64_t *n,
                    int64_t *length) {
  int single = r->n[0] == 1 && r->dest[1] != from->size; /* items, each a row */
  *stride = r->dest[single], *n = r->n[single], *length = single ? 1 : r->n[1];
  return r->src[1] == 1 && *n > 1 && *length * from->size <= CACHE_LINE && *length % WOVEN != 0 &&
         (single || (r->src[0] == *length && r->dest[1] == from->size));
}

static void unshuffle_rows(const void *state, uint8_t *dest, int64_t at, const rows *r) {
  const shuffled *from = state;
  int64_t stride, n, length;
  if (are_runs(from, r, &stride, &n, &length)) {
    switch (from->size) {
      case 2: weave_runs(2, from, dest, stride, at, n, length); return;
      case 4: weave_runs(4, from, dest, stride, at, n, length); return;
      case 8: weave_runs(8, from, dest, stride, at, n, length); return;
      default: break;
    }
  }
  if (r->src[1] == 1 && r->dest[1] == from->size && r->n[1] >= WORTH_WEAVING) {
    switch (from->size) {
      case 2: weave_rows(2, from, dest, at, r); return;
      case 4: weave_rows(4, from, dest, at, r); return;
      case 8: weave_rows(8, from, dest, at, r); return;
      default: break;
    }
  }
  for (int64_t row = 0; row < r->n[0]; row++, dest += r->dest[0], at += r->src[0]) {
    gather_items(from->bytes, from->size, dest, r->dest[1], at, r->src[1], 0, r->n[1]);
  }
}

enum { FEW = 8 }; /* one in so many items costs less one by one than all at once */

int cat_unshuffle_part(const stream_coding *coding, const uint8_t *const *bytes,
                       const geometry *g, const block_part *part, uint8_t *dest,
                       const int64_t *strides) {
  int size = coding->typesize;
  int64_t wanted = 1, item_strides[CAT_MAX_DIM];
  for (int d = 0; d < g->ndim; d++) {
    wanted *= part->box.count[d];
    item_strides[d] = part->strides[d] / size;
  }
  int woven = size == 2 || size == 4 || size == 8;
  if (!woven && wanted > g->blocksize / size / FEW) {
    return 0;
  }
  shuffled from = {bytes, size, g->blocksize / size};
  cat_for_rows(dest, strides, part->src / size, item_strides, part->box.count, g->ndim, strides,
               unshuffle_rows, &from);
  return 1;
}
