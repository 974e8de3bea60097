/* The chunk that a thread decodes parts of: its head is read and checked once. */
#include "decode.h"

/* Check the head of the chunk, which its first bytes hold. */
static int check_head(const decoder *dec, known_chunk *chunk) {
  chunk_head *head = &chunk->head;
  int error = cat_check_format(chunk->bytes);
  if (error) {
    return error;
  }
  int64_t need = cat_read_head(dec->grid, dec->g, chunk->bytes, chunk->size, head);
  if (need < 0) {
    return (int)need;
  }
  if (head->kind == CHUNK_OF_BLOCKS || head->kind == CHUNK_AT_ONCE) {
    if ((error = cat_check_codecs(dec->g, head->header))) {
      return error;
    }
    if (need > chunk->size) {
      return head->kind == CHUNK_AT_ONCE ? CAT_ERROR_MISSING : CAT_ERROR_TRUNCATED;
    }
  }
  return cat_check_head(dec->grid, head);
}

static int is_known(const known_chunk *chunk, const cat_part *part) {
  const cat_place *place = part->place;
  if (place == NULL) {
    return chunk->read == NULL && chunk->bytes == part->pieces->data &&
           chunk->size == part->pieces->size;
  }
  return chunk->read != NULL && chunk->place.path == place->path &&
         chunk->place.descriptor == place->descriptor && chunk->place.start == place->start &&
         chunk->place.stop == place->stop;
}

int cat_know_chunk(const decoder *dec, scratch *own, cat_where *where) {
  const cat_part *part = dec->part;
  known_chunk *chunk = &own->chunk;
  if (part->place == NULL && (part->npieces < 1 || part->pieces->start != 0 ||
                              part->pieces->size < HEADER)) {
    return CAT_ERROR_TRUNCATED;
  }
  if (is_known(chunk, part)) {
    return 0;
  }
  cat_forget_chunk(own);
  const chunk_head *head = &chunk->head;
  int error = 0;
  if (part->place != NULL) {
    error = cat_read_chunk_head(dec, own, where);
  } else {
    chunk->bytes = part->pieces->data;
    chunk->size = part->pieces->size;
  }
  error = error ? error : check_head(dec, chunk);
  if (error) {
    cat_forget_chunk(own);
    return error;
  }
  chunk->simple = head->kind == CHUNK_OF_BLOCKS && !cat_is_cut(dec->g) &&
                  cat_find_streams(head->header, dec->g->itemsize, &chunk->coding);
  /* A block with a checksum must be looked for: its checksum is of all up to the next block. */
  chunk->at_hand = chunk->simple && head->checksums == NULL && chunk->size >= head->cbytes;
  return 0;
}

int cat_prepare_chunk(const decoder *dec, scratch *own, int64_t more, cat_where *where) {
  known_chunk *chunk = &own->chunk;
  chunk->asked += more;
  if (chunk->head.kind == CHUNK_AT_ONCE && chunk->whole == NULL) {
    return cat_decode_at_once(dec, own, &chunk->whole, where);
  }
  int search = chunk->head.kind == CHUNK_OF_BLOCKS && !chunk->at_hand;
  /* When a file is read, one run of bytes may go on to any number of blocks that are wanted later. */
  int64_t asked = dec->part->place != NULL && own->nahead > 0 ? INT64_MAX : chunk->asked;
  return search ? cat_init_offsets(&chunk->head.offsets, asked) : 0;
}
