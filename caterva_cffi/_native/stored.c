/* Where the stored bytes of a chunk come from: pieces in memory, or a file. What is read of files, and in
 * which order (decode_part.c), is foretold by costs/kernel_reads.py, whose tests count reads. */
#include <stdlib.h>

#include "checksums.h"
#include "decode.h"
#include "files.h"

#ifdef CAT_SMALL_READS
enum { UNIT = 1 }; /* tests and fuzz targets have small chunks, and read them in several steps too */
#else
enum { UNIT = 1024 };
#endif

enum {
  RUN_BYTES = 256 * UNIT,  /* of blocks that are read at once: they stay in a core's cache */
  FIRST_BYTES = 16 * UNIT, /* of a chunk that are read at first, if its head takes no more */
};

static const uint8_t *find_piece(const cat_part *part, int64_t start, int64_t stop) {
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

const uint8_t *cat_find_bytes(const decoder *dec, int64_t start, int64_t stop) {
  const known_chunk *chunk = dec->chunk;
  if (stop <= chunk->size) {
    return chunk->bytes + start;
  }
  return dec->part->place == NULL ? find_piece(dec->part, start, stop) : NULL;
}

/* --- files -------------------------------------------------------------------------------------- */

static int read_exactly(const known_chunk *chunk, int64_t start, int64_t stop, uint8_t *dest,
                        cat_where *where) {
  if (start == stop) {
    return 0;
  }
  int64_t count = cat_read_file(chunk->descriptor, chunk->place.start + start, dest, stop - start);
  if (count < 0) {
    where->system = (int)-count;
    return CAT_ERROR_FILE;
  }
  return count == stop - start ? 0 : CAT_ERROR_END;
}

/* Read the first bytes of a chunk up to another one; what was read before stays. */
static int read_on(const decoder *dec, scratch *own, int64_t stop, cat_where *where) {
  known_chunk *chunk = &own->chunk;
  uint8_t *grown = realloc(chunk->read, (size_t)stop);
  if (grown == NULL) {
    return CAT_ERROR_MEMORY;
  }
  chunk->bytes = chunk->read = grown;
  uint8_t *dest = grown + chunk->size;
  int64_t at = chunk->place.start + chunk->size, size = stop - chunk->size;
  int64_t count = cat_read_cached(chunk->descriptor, at, dest, size);
  if (count < size) {
    cat_tell_heads(dec, own, stop);
  }
  int error = read_exactly(chunk, chunk->size + count, stop, dest + count, where);
  chunk->size = error ? chunk->size : stop;
  return error;
}

/* Open the file that a chunk is in. Returns how many bytes it has, as far as these matter, or an error
 * code. */
static int64_t open_place(known_chunk *chunk, cat_where *where) {
  chunk->descriptor = chunk->place.descriptor;
  if (chunk->place.path != NULL) {
    int opened = cat_open_file(chunk->place.path);
    if (opened < 0) {
      where->system = -opened;
      chunk->place.path = NULL; /* nothing is to be closed */
      return CAT_ERROR_FILE;
    }
    chunk->descriptor = opened;
  }
  cat_expect_no_more(chunk->descriptor);
  int64_t size = INT64_MAX;
  if (chunk->place.path != NULL && (size = cat_measure_file(chunk->descriptor)) < 0) {
    where->system = (int)-size;
    return CAT_ERROR_FILE;
  }
  return size;
}

int cat_read_chunk_head(const decoder *dec, scratch *own, cat_where *where) {
  const geometry *g = dec->g;
  known_chunk *chunk = &own->chunk;
  chunk->place = *dec->part->place;
  int64_t size = open_place(chunk, where), start = chunk->place.start, stop = chunk->place.stop;
  if (size < 0) {
    return (int)size;
  }
  int too_long = size < stop ? CAT_ERROR_END : CAT_ERROR_TRUNCATED;
  stop = size < stop ? size : stop;
  if (start < 0 || start > stop || stop - start < HEADER) {
    return too_long;
  }
  int64_t most = stop - start;
  int64_t need = HEADER + OFFSET * g->nblocks;
  need += dec->grid->checksums ? cat_checksums_size(g->nblocks) : 0;
  need = need < FIRST_BYTES ? FIRST_BYTES : need;
  need = need < most ? need : most;
  do {
    if (need > most) {
      return too_long;
    }
    int error = read_on(dec, own, need, where);
    if (error || (error = cat_check_format(chunk->bytes))) {
      return error;
    }
    need = cat_read_head(dec->grid, g, chunk->bytes, chunk->size, &chunk->head);
  } while (need > chunk->size);
  if (need >= 0 && chunk->head.cbytes > most) {
    return too_long;
  }
  return need < 0 ? (int)need : 0;
}

int cat_find_block_range(const decoder *dec, int64_t number, int32_t *start, int32_t *end) {
  const chunk_head *head = &dec->chunk->head;
  if (head->kind != CHUNK_STORED) {
    return cat_find_stored(&head->offsets, number, start, end);
  }
  *start = (int32_t)(HEADER + number * dec->g->blocksize);
  *end = *start + cat_block_bytes(dec->g, number);
  return 0;
}

/* Let a run of bytes go on to the end of a block, if that is near enough. Returns whether it is. */
static int extend(const decoder *dec, int64_t number, int32_t start, int32_t *stop) {
  int32_t from, to;
  if (cat_find_block_range(dec, number, &from, &to) || from < start || from - *stop > dec->part->place->gap ||
      to - start > RUN_BYTES) {
    return 0;
  }
  *stop = to > *stop ? to : *stop;
  return 1;
}

/* The same for the blocks of a box, from the i-th one on. */
static int extend_all(const decoder *dec, const cutting *cut, const int64_t *order, int64_t i,
                      int64_t upto, int32_t start, int32_t *stop) {
  static const int64_t still[CAT_MAX_DIM] = {0};
  for (; i < upto; i++) {
    cut_box next;
    cat_find_cut_box(cut, order == NULL ? i : order[i], still, &next);
    if (!extend(dec, next.number, start, stop)) {
      return 0;
    }
  }
  return 1;
}

/* Where the run of bytes ends that begins with a block. Blocks that are wanted next are in it, also those
 * that only the parts that follow want. */
static int32_t find_run(const decoder *dec, const scratch *own, const wanted_block *wanted,
                        int32_t start, int32_t stop) {
  const geometry *g = dec->g;
  for (int64_t i = 0; i < own->nuses && extend(dec, own->uses[i].block, start, &stop); i++) {
  }
  int goes_on = extend_all(dec, &dec->cut, dec->order, wanted->i + 1, wanted->upto, start, &stop) &&
                wanted->upto == dec->cut.n;
  for (int64_t i = 0; goes_on && i < own->nahead; i++) {
    const cat_part *part = &own->ahead[i];
    if (part->place != dec->part->place || cat_check_box(&part->box, g->ndim, g->chunk) ||
        cat_is_empty(&part->box, g->ndim)) {
      break;
    }
    cutting cut = cat_cut(&part->box, g->ndim, g->block, g->blocks);
    goes_on = extend_all(dec, &cut, NULL, 0, cut.n, start, &stop);
  }
  return stop;
}

/* Read a block into the scratch, with those behind it in the file that are wanted next. */
static int read_run(const decoder *dec, scratch *own, const wanted_block *wanted, int32_t start,
                    int32_t end, cat_where *where) {
  int32_t stop = find_run(dec, own, wanted, start, end);
  own->run_start = own->run_stop = 0;
  if (own->space == NULL && (own->space = cat_take_workspace()) == NULL) {
    return CAT_ERROR_MEMORY;
  }
  uint8_t *stored = cat_reserve_stored(own->space, stop - start);
  if (stored == NULL) {
    return CAT_ERROR_MEMORY;
  }
  int64_t size = stop - start, at = dec->chunk->place.start + start;
  int64_t count = cat_read_cached(dec->chunk->descriptor, at, stored, size);
  if (count < size) {
    cat_tell_blocks(dec, own, wanted->i, start, stop);
  }
  own->told_bytes -= size < own->told_bytes ? size : own->told_bytes;
  int error = read_exactly(dec->chunk, start + count, stop, stored + count, where);
  if (!error) {
    own->run_start = start;
    own->run_stop = stop;
  }
  return error;
}

/* --- blocks ------------------------------------------------------------------------------------- */

/* Find a block of a chunk that is all in one piece of memory. Its end need not be known: its streams say
 * how long they are. */
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

int cat_find_stored_block(const decoder *dec, scratch *own, const wanted_block *wanted,
                          const uint8_t **bytes, int32_t *size, cat_where *where) {
  const chunk_head *head = &dec->chunk->head;
  if (dec->chunk->at_hand) {
    return find_at_hand(head, wanted->number, bytes, size);
  }
  int32_t start, end;
  int error = cat_find_block_range(dec, wanted->number, &start, &end);
  if (error) {
    return error;
  }
  *bytes = cat_find_bytes(dec, start, end);
  *size = end - start;
  if (*bytes == NULL && dec->part->place != NULL) {
    if ((start < own->run_start || end > own->run_stop) &&
        (error = read_run(dec, own, wanted, start, end, where))) {
      return error;
    }
    *bytes = own->space->stored + (start - own->run_start);
  }
  if (*bytes == NULL) {
    return CAT_ERROR_MISSING;
  }
  int64_t number = wanted->number;
  int intact = head->checksums == NULL || cat_is_intact(head->checksums, number, *bytes, *size);
  return intact ? 0 : CAT_ERROR_CHECKSUM;
}
