#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "rows.h"

typedef struct {
  const uint8_t *item;
  size_t itemsize;
  int zeros;
} repeated;

static void fill_rows(const void *state, uint8_t *dest, int64_t from, const rows *r) {
  const repeated *value = state;
  (void)from;
  size_t size = value->itemsize, all = size * (size_t)r->n[1];
  for (int64_t row = 0; row < r->n[0]; row++, dest += r->dest[0]) {
    if (r->n[1] > 1 && r->dest[1] != (int64_t)size) {
      for (int64_t i = 0; i < r->n[1]; i++) {
        memcpy(dest + i * r->dest[1], value->item, size);
      }
    } else if (value->zeros) {
      memset(dest, 0, all);
    } else {
      memcpy(dest, value->item, size);
      for (size_t done = size; done < all; done *= 2) {
        memcpy(dest + done, dest, done < all - done ? done : all - done);
      }
    }
  }
}

/* Find which value it is. `made` is memory for an item, of zeros. */
static int find_value(const decoder *dec, uint8_t *made, repeated *value) {
  const chunk_head *head = &dec->chunk->head;
  int32_t itemsize = dec->g->itemsize, behind = head->cbytes - HEADER;
  int special = special_of(head->header);
  if (behind != (special == BLOSC2_SPECIAL_VALUE ? itemsize : 0)) {
    return CAT_ERROR_GEOMETRY;
  }
  *value = (repeated){made, (size_t)itemsize, 0};
  if (special == BLOSC2_SPECIAL_VALUE) {
    const uint8_t *chunk = cat_find_bytes(dec, 0, head->cbytes);
    value->item = chunk == NULL ? NULL : chunk + HEADER;
    return chunk == NULL ? CAT_ERROR_MISSING : 0;
  }
  if (special != BLOSC2_SPECIAL_NAN) { /* zeros, and what was never written */
    value->zeros = 1;
  } else if (itemsize == (int32_t)sizeof(float)) {
    memcpy(made, &(float){NAN}, sizeof(float));
  } else if (itemsize == (int32_t)sizeof(double)) {
    memcpy(made, &(double){NAN}, sizeof(double));
  } else {
    return CAT_ERROR_GEOMETRY;
  }
  return 0;
}

int cat_fill_part(const decoder *dec) {
  static const int64_t still[CAT_MAX_DIM] = {0};
  const geometry *g = dec->g;
  const cat_part *part = dec->part;
  uint8_t *made = calloc(1, (size_t)g->itemsize);
  repeated value;
  int error = made == NULL ? CAT_ERROR_MEMORY : find_value(dec, made, &value);
  if (!error) {
    cat_for_rows(part->dest, part->strides, 0, still, part->box.count, g->ndim, part->strides,
                 fill_rows, &value);
  }
  free(made);
  return error;
}
