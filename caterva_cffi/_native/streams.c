#include "streams.h"

#include <string.h>

#include <lz4.h>
#include <zstd.h>

#include "chunk.h"

int cat_find_streams(const uint8_t *header, int32_t itemsize, stream_coding *coding) {
  const uint8_t *filters = header + BLOSC2_CHUNK_FILTER_CODES;
  const uint8_t *metas = header + BLOSC2_CHUNK_FILTER_META;
  int flags = header[BLOSC2_CHUNK_FLAGS], shuffled = 0;
  coding->format = flags >> 5;
  if ((coding->format != BLOSC_LZ4_FORMAT && coding->format != BLOSC_ZSTD_FORMAT) ||
      header[BLOSC2_CHUNK_BLOSC2_FLAGS] & BLOSC2_USEDICT ||
      header[BLOSC2_CHUNK_TYPESIZE] != itemsize) {
    return 0;
  }
  for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
    switch (filters[i]) {
      case BLOSC_NOFILTER:
      case BLOSC_TRUNC_PREC: /* nothing to undo: the bits that it cut off are lost */
        break;
      case BLOSC_SHUFFLE:
        shuffled++;
        if (shuffled > 1 || (metas[i] != 0 && metas[i] != itemsize)) {
          return 0;
        }
        break;
      default:
        return 0;
    }
  }
  coding->typesize = shuffled ? itemsize : 1;
  coding->streams = flags & FLAG_DONT_SPLIT ? 1 : itemsize;
  return 1;
}

/* How many bytes of a stream are wanted, from its start on. Without a shuffle, streams are stretches of
 * the block. With one, each holds one byte of all items; or a single stream holds all of these in turn. */
static int32_t wanted_of(const stream_coding *coding, int stream, int32_t length, int32_t blocksize,
                         int64_t end) {
  int64_t wanted;
  if (coding->typesize == 1) {
    wanted = end - (int64_t)stream * length;
  } else {
    wanted = end / coding->typesize;
    if (coding->streams == 1) {
      wanted += (int64_t)(blocksize / coding->typesize) * (coding->typesize - 1);
    }
  }
  return (int32_t)(wanted < 0 ? 0 : wanted < length ? wanted : length);
}

/* A stream: how many bytes it decodes to, and how many of these are wanted, from the first on. */
typedef struct {
  int format;
  int32_t length, wanted;
  int leave; /* a stream that was not compressed may stay where it is, without a copy */
} stream;

/* Decode its first `wanted` bytes, or more of them, from a codec's. Returns 0 or an error code. */
static int decode_stream(const stream *s, const uint8_t *src, int32_t size, uint8_t *dest,
                         void **zstd) {
  int32_t length = s->length, wanted = s->wanted;
  if (s->format == BLOSC_LZ4_FORMAT) {
    const char *from = (const char *)src;
    char *to = (char *)dest;
    if (wanted == length) {
      return LZ4_decompress_safe(from, to, size, length) == length ? 0 : CAT_ERROR_BLOCK;
    }
    /* Where its last match has the offset 0, LZ4 leaves what was there. */
    memset(dest, 0, (size_t)wanted);
    int decoded = LZ4_decompress_safe_partial(from, to, size, wanted, wanted);
    return decoded == wanted ? 0 : CAT_ERROR_BLOCK;
  }
  if (*zstd == NULL && (*zstd = ZSTD_createDCtx()) == NULL) {
    return CAT_ERROR_MEMORY;
  }
  size_t decoded = ZSTD_decompressDCtx(*zstd, dest, (size_t)length, src, (size_t)size);
  return decoded == (size_t)length ? 0 : CAT_ERROR_BLOCK;
}

/* Decode the stream at `at`, of which `stored` says how it is stored, to `dest`. `decoded` is then where
 * its bytes are, and `at` behind it. Returns 0 or an error code. */
static int decode_stored(const stream *s, int32_t stored, const uint8_t **at, const uint8_t *stop,
                         uint8_t *dest, const uint8_t **decoded, void **zstd) {
  const uint8_t *from = *at;
  *decoded = s->wanted > 0 ? dest : *decoded;
  if (stored == 0) {
    memset(dest, 0, (size_t)s->wanted);
    return 0;
  }
  if (stored < 0) {
    /* A run: the byte is in the size, and a token says that it is one. */
    if (from == stop || stored < -UINT8_MAX || !(*from & 1)) {
      return CAT_ERROR_BLOCK;
    }
    *at = from + 1;
    memset(dest, -stored, (size_t)s->wanted);
    return 0;
  }
  if (stored > stop - from) {
    return CAT_ERROR_BLOCK;
  }
  *at = from + stored;
  if (s->wanted == 0) {
    return 0; /* nothing of it is wanted; it was only passed over */
  }
  if (stored == s->length) {
    if (s->leave) {
      *decoded = from;
    } else {
      memcpy(dest, from, (size_t)s->wanted);
    }
    return 0;
  }
  return decode_stream(s, from, stored, dest, zstd);
}

static int are_zeros(const uint8_t *bytes, const uint8_t *stop) {
  while (bytes < stop && *bytes == 0) {
    bytes++;
  }
  return bytes == stop;
}

int cat_decode_streams(const stream_coding *coding, const uint8_t *block, int64_t size, int exact,
                       int32_t blocksize, int64_t end, int gather, uint8_t *scratch,
                       const uint8_t **bytes, void **zstd) {
  stream s = {.format = coding->format, .length = blocksize / coding->streams};
  /* Only bytes of their own, or a single stream, may stay where they are. */
  s.leave = !gather && (coding->streams == 1 || coding->typesize > 1);
  const uint8_t *at = block, *stop = block + size, *decoded = scratch;
  for (int j = 0; j < coding->streams; j++) {
    s.wanted = wanted_of(coding, j, s.length, blocksize, end);
    if (s.wanted == 0 && !exact) {
      break;
    }
    if (stop - at < OFFSET) {
      return CAT_ERROR_BLOCK;
    }
    int32_t stored = load_int32(at);
    at += OFFSET;
    uint8_t *dest = scratch + (int64_t)j * s.length;
    int error = decode_stored(&s, stored, &at, stop, dest, &decoded, zstd);
    if (error) {
      return error;
    }
    if (coding->streams > 1 && coding->typesize > 1) {
      bytes[j] = decoded;
    }
  }
  if (coding->streams == 1) {
    for (int j = 0; j < coding->typesize; j++) {
      bytes[j] = decoded + (int64_t)j * (blocksize / coding->typesize);
    }
  } else if (coding->typesize == 1) {
    bytes[0] = scratch;
  }
  return exact && !are_zeros(at, stop) ? CAT_ERROR_BLOCK : 0;
}
