#include "checksums.h"

#include <string.h>

#include "chunk.h"

#ifdef CATERVA_CFFI_SYSTEM_BLOSC2
#include <zlib.h>

static uint32_t update(uint32_t crc, const uint8_t *bytes, int64_t size) {
  return (uint32_t)crc32_z(crc, bytes, (size_t)size);
}
#else
uint32_t zng_crc32_z(uint32_t crc, const uint8_t *bytes, size_t size); /* in a header that is built */

static uint32_t update(uint32_t crc, const uint8_t *bytes, int64_t size) {
  return zng_crc32_z(crc, bytes, (size_t)size);
}
#endif

enum { CHECKSUM = sizeof(uint32_t), MARK = 4 };

/* No block begins with these bytes: as the length of its first stream they would be too much. */
static const uint8_t mark[MARK] = {0, 'C', 'R', 'C'};

int64_t cat_checksums_size(int64_t nblocks) { return MARK + CHECKSUM * (1 + nblocks); }

int cat_leaves_room(const uint8_t *chunk, int64_t body, int64_t nblocks) {
  return load_int32(chunk + HEADER) == body + cat_checksums_size(nblocks);
}

uint32_t cat_checksum_of(const uint8_t *bytes, int64_t size) {
  return update(0, bytes, size);
}

static uint32_t checksum_of_head(const uint8_t *chunk, int64_t body, int64_t nblocks) {
  uint32_t head = cat_checksum_of(chunk, body + MARK);
  return update(head, chunk + body + MARK + CHECKSUM, CHECKSUM * nblocks);
}

int cat_find_checksums(const uint8_t *chunk, int64_t body, int64_t nblocks, const uint8_t **checksums) {
  *checksums = NULL;
  if (!cat_leaves_room(chunk, body, nblocks) || memcmp(chunk + body, mark, MARK) != 0) {
    return 0;
  }
  *checksums = chunk + body + MARK + CHECKSUM;
  uint32_t stored = (uint32_t)load_int32(chunk + body + MARK);
  return stored == checksum_of_head(chunk, body, nblocks) ? 0 : CAT_ERROR_CHECKSUM;
}

void cat_set_checksum(uint8_t *chunk, int64_t body, int64_t block, uint32_t checksum) {
  store_int32(chunk + body + MARK + CHECKSUM * (1 + block), (int32_t)checksum);
}

void cat_seal_checksums(uint8_t *chunk, int64_t body, int64_t nblocks) {
  memcpy(chunk + body, mark, MARK);
  store_int32(chunk + body + MARK, (int32_t)checksum_of_head(chunk, body, nblocks));
}

uint32_t cat_checksum_at(const uint8_t *checksums, int64_t block) {
  return (uint32_t)load_int32(checksums + CHECKSUM * block);
}

int cat_is_intact(const uint8_t *checksums, int64_t block, const uint8_t *bytes, int64_t size) {
  return cat_checksum_at(checksums, block) == cat_checksum_of(bytes, size);
}
