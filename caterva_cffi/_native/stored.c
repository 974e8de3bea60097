#include "checksums.h"
#include "decode.h"

const uint8_t *cat_find_bytes(const cat_part *part, int64_t start, int64_t stop) {
  int64_t low = 0, high = part->npieces;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (part->pieces[middle].start <= start) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) {
    return NULL;
  }
  const cat_piece *piece = &part->pieces[low - 1];
  return stop - piece->start <= piece->size ? piece->data + (start - piece->start) : NULL;
}

/* Find a block that lies in one piece with all others. Its streams say how long they are. */
static int find_at_hand(const chunk_head *head, int64_t number, const uint8_t **bytes,
                        int32_t *size) {
  int32_t start = load_int32(head->offsets.stored + OFFSET * number);
  if (start < head->offsets.body || start >= head->cbytes) {
    return CAT_ERROR_OFFSET;
  }
  *bytes = head->header + start;
  *size = head->cbytes - start;
  return 0;
}

int cat_find_stored_block(const decoder *dec, int64_t number, const uint8_t **bytes,
                          int32_t *size) {
  const chunk_head *head = &dec->chunk->head;
  if (dec->chunk->at_hand) {
    return find_at_hand(head, number, bytes, size);
  }
  int32_t start, end;
  if (head->kind == CHUNK_STORED) {
    start = (int32_t)(HEADER + number * dec->g->blocksize);
    end = start + dec->g->blocksize;
  } else {
    int error = cat_find_stored(&head->offsets, number, &start, &end);
    if (error) {
      return error;
    }
  }
  *bytes = cat_find_bytes(dec->part, start, end);
  *size = end - start;
  if (*bytes == NULL) {
    return CAT_ERROR_MISSING;
  }
  int intact = head->checksums == NULL || cat_is_intact(head->checksums, number, *bytes, *size);
  return intact ? 0 : CAT_ERROR_CHECKSUM;
}
