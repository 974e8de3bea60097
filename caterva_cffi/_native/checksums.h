/* Checksums of blocks, which travel in their chunk.
 *
 * Between the head of a chunk (header, block offsets, dictionary) and its first block lie
 *
 *   "\0CRC"       4 bytes
 *   of the head   4 bytes, with the checksums of the blocks
 *   of each block 4 bytes, of its compressed bytes up to the next larger offset
 *
 * each a CRC-32 (IEEE 802.3, as in zlib), little-endian. Readers that do not know the checksums find
 * blocks by their offsets. Such a chunk has block 0 in front of the others, and is never stored plain. */
#ifndef CATERVA_CFFI_CHECKSUMS_H
#define CATERVA_CFFI_CHECKSUMS_H

#include "geometry.h"

/* The bytes of a chunk's checksums. */
int64_t cat_checksums_size(int64_t nblocks);

/* Whether a chunk's block 0 begins exactly where checksums would end. `body` is where the first
 * block may begin. */
int cat_leaves_room(const uint8_t *chunk, int64_t body, int64_t nblocks);

/* Find the checksums of a chunk's blocks; NULL if it has none. All bytes before its first block must be
 * there. Returns 0, or CAT_ERROR_CHECKSUM if these are damaged. */
int cat_find_checksums(const uint8_t *chunk, int64_t body, int64_t nblocks, const uint8_t **checksums);

/* Write the checksum of a block, whose offset need not be there yet. */
void cat_set_checksum(uint8_t *chunk, int64_t body, int64_t block, uint32_t checksum);

/* Finish the checksums, when all bytes before the first block are written. */
void cat_seal_checksums(uint8_t *chunk, int64_t body, int64_t nblocks);

uint32_t cat_checksum_at(const uint8_t *checksums, int64_t block);
uint32_t cat_checksum_of(const uint8_t *bytes, int64_t size);

/* Whether a block's bytes have the checksum that `checksums` names. */
int cat_is_intact(const uint8_t *checksums, int64_t block, const uint8_t *bytes, int64_t size);

#endif
