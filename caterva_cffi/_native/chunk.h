/* What decoding and encoding share: the chunk format, and which codecs and filters are known.
 *
 * The format is that of C-Blosc2's README_CHUNK_FORMAT. */
#ifndef CATERVA_CFFI_CHUNK_H
#define CATERVA_CFFI_CHUNK_H

#include "kernel.h"

enum {
  HEADER = BLOSC_EXTENDED_HEADER_LENGTH,
  OFFSET = sizeof(int32_t),
  UDCODEC = 0x16, /* the header's byte for codecs without a number of their own */
  FLAG_DONT_SPLIT = 0x10,
  FLAG_LAZY = 0x08,
  EXTENDED = BLOSC_DOSHUFFLE | BLOSC_DOBITSHUFFLE, /* both at once mark the 32-byte header */
};

static inline int32_t load_int32(const uint8_t *bytes) {
  return (int32_t)((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                   (uint32_t)bytes[3] << 24);
}

static inline void store_int32(uint8_t *bytes, int32_t value) {
  uint32_t bits = (uint32_t)value;
  for (int i = 0; i < 4; i++) {
    bytes[i] = (uint8_t)(bits >> 8 * i);
  }
}

/* The kind of value that a chunk repeats, or BLOSC2_NO_SPECIAL. */
static inline int special_of(const uint8_t *header) {
  return header[BLOSC2_CHUNK_BLOSC2_FLAGS] >> 4 & BLOSC2_SPECIAL_MASK;
}

/* Whether a codec is compiled in and takes such arrays. For other registered codecs C-Blosc2 would load
 * a shared library, or start a process to find one. */
int cat_codec_is_known(int codec, int ndim, int32_t itemsize);
int cat_filters_are_known(const uint8_t *filters);

/* Whether the filters write all bytes of blocks. The last block may be shorter. */
int cat_filters_fill(const uint8_t *filters, const uint8_t *metas, int32_t itemsize, int32_t blocksize,
                     int32_t nbytes);
int cat_has_filter(const uint8_t *filters, int filter);

/* Stands in for a super-chunk: N-d plugins read its "b2nd" metalayer. */
typedef struct {
  blosc2_schunk schunk;
  blosc2_metalayer metalayer;
  char name[sizeof("b2nd")];
  int64_t blockshape[CAT_MAX_DIM];
} plugin_context;

/* Return a new one, or NULL without memory; cat_free_plugin_context takes either. */
plugin_context *cat_new_plugin_context(const cat_grid *grid);
void cat_free_plugin_context(plugin_context *plugin);

#endif
