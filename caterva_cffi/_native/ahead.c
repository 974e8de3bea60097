/* What is wanted next of files that the system has to get from a disk. It is told, so that the disk has
 * many requests at a time, and works while blocks are decoded. */
#include "decode.h"
#include "files.h"

enum {
  AHEAD = 8 << 20,       /* bytes that are told and not yet read, of a chunk */
  AT_ONCE = 128 * 1024,  /* bytes that any system takes in one go */
  HEADS = 64,            /* chunks whose heads are told at a time */
};

static void announce(const cat_place *place, int descriptor, int64_t start, int64_t stop) {
  for (; start < stop; start += AT_ONCE) {
    int64_t size = stop - start < AT_ONCE ? stop - start : AT_ONCE;
    cat_expect_bytes(descriptor, place->start + start, size);
  }
}

void cat_tell_heads(const decoder *dec, scratch *own, int64_t size) {
  if (own->parts_end == NULL) {
    return;
  }
  const cat_part *part = own->heads_told > dec->part ? own->heads_told : dec->part + 1;
  const cat_place *last = part[-1].place;
  for (int told = 0; part < own->parts_end && told < HEADS; part++) {
    const cat_place *place = part->place;
    if (place != NULL && place != last && place->path == NULL && place->start >= 0 &&
        place->stop > place->start && place->stop - place->start >= size) {
      announce(place, place->descriptor, 0, size);
      told++;
    }
    last = place;
  }
  own->heads_told = part;
}

/* The number of the k-th wanted block, or -1 where the blocks of this chunk end. */
static int64_t find_number(const decoder *dec, const scratch *own, int64_t k) {
  static const int64_t still[CAT_MAX_DIM] = {0};
  if (own->first_use != NULL) {
    const block_use *use = own->first_use + k;
    return own->parts[use->part].place == dec->part->place ? use->block : -1;
  }
  cut_box found;
  cat_find_cut_box(&dec->cut, dec->order == NULL ? k : dec->order[k], still, &found);
  return found.number;
}

void cat_tell_blocks(const decoder *dec, scratch *own, int64_t i, int32_t start, int32_t stop) {
  const cat_place *place = dec->part->place;
  int descriptor = dec->chunk->descriptor;
  int shared = own->first_use != NULL;
  int64_t next = shared ? own->uses - own->first_use : i + 1;
  int64_t n = shared ? own->uses_stop : dec->cut.n;
  if (own->told < next) {
    own->told = next;
    own->told_bytes = 0;
  }
  for (; own->told < n && own->told_bytes < AHEAD; own->told++) {
    int64_t number = find_number(dec, own, own->told);
    int32_t from, to;
    if (number < 0) {
      break;
    }
    if (cat_find_block_range(dec, number, &from, &to) || (from >= start && to <= stop)) {
      continue;
    }
    own->told_bytes += to - from;
    if (from >= start && from - stop <= place->gap && to - start <= AT_ONCE) {
      stop = to;
      continue;
    }
    announce(place, descriptor, start, stop);
    start = from;
    stop = to;
  }
  announce(place, descriptor, start, stop);
}
