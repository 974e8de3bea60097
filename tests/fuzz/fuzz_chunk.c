/* A chunk from a stranger, of a geometry that is known: planned, decoded whole, from pieces and from a
 * file, changed.
 *
 * An input is the number of dimensions (1 byte; 128 more where blocks have checksums, 64 more where the
 * last block may be shorter), the item size,
 * and for each dimension the sides of the chunk and of a block (2 bytes each, little-endian), and behind
 * them the chunk. */
#define _GNU_SOURCE /* memfd_create */

#include "support.h"

#include <sys/mman.h>
#include <unistd.h>

static int64_t take_short(const uint8_t **at, const uint8_t *end) {
  if (end - *at < 2) {
    return -1;
  }
  int64_t value = (*at)[0] | (*at)[1] << 8;
  *at += 2;
  return value;
}

static int take_grid(const uint8_t **at, const uint8_t *end, cat_grid *grid) {
  if (*at == end) {
    return 0;
  }
  grid->checksums = **at >> 7;
  grid->cut = **at >> 6 & 1;
  grid->ndim = (*(*at)++ & 0x3F) % (CAT_MAX_DIM + 1);
  grid->itemsize = (int32_t)take_short(at, end);
  for (int d = 0; d < grid->ndim; d++) {
    grid->shape[d] = grid->chunk[d] = take_short(at, end);
    grid->block[d] = take_short(at, end);
  }
  int possible = !grid->cut || (grid->ndim == 1 && !grid->checksums);
  return possible && is_small_grid(grid);
}

typedef struct {
  uint8_t *items;
  int64_t span;
  int error;
} decoded;

enum { FILL = 0xA5, OTHER_FILL = 0x5A };

static decoded decode(const cat_grid *grid, const cat_piece *pieces, int64_t npieces,
                      const cat_box *box, const memory *to, int nthreads, int fill) {
  decoded result = {.items = allocate(to->span), .span = to->span};
  memset(result.items, fill, (size_t)to->span);
  cat_part part = part_of(pieces, npieces, box, result.items, to);
  cat_where where;
  result.error = cat_decode(grid, &part, 1, nthreads, &where);
  CHECK(result.error <= 0, "%d", result.error);
  CHECK(where.block >= -1 && where.block < count_chunk_blocks(grid), "block %lld",
        (long long)where.block);
  return result;
}

static void check_same(const decoded *again, const decoded *expected, const memory *to) {
  CHECK(again->error == expected->error, "%d and %d", again->error, expected->error);
  if (!again->error) {
    memory dense = dense_memory(to->ndim, to->itemsize, to->count);
    uint8_t *items = allocate(dense.span), *others = allocate(dense.span);
    copy_box(items, &dense, expected->items, to, NULL);
    copy_box(others, &dense, again->items, to, NULL);
    CHECK(count_items(to->ndim, to->count) == 0 || memcmp(items, others, (size_t)dense.span) == 0,
          "threads, other chunks, or what was there before, make a difference");
    free(items);
    free(others);
  }
}

/* Decode into memory that holds something else: every item must be written. */
static void decode_again(const cat_grid *grid, const cat_piece *piece, const cat_box *box,
                         const memory *to, const decoded *expected) {
  decoded again = decode(grid, piece, 1, box, to, 3, OTHER_FILL);
  check_same(&again, expected, to);
  free(again.items);
}

static cat_compression random_compression(generator *g) {
  static const uint8_t codecs[] = {BLOSC_BLOSCLZ, BLOSC_LZ4, BLOSC_ZLIB, BLOSC_ZSTD};
  cat_compression compression = {.codec = codecs[between(g, 0, 3)], .clevel = 1,
                                 .splitmode = BLOSC_FORWARD_COMPAT_SPLIT};
  compression.filters[BLOSC2_MAX_FILTERS - 1] = (uint8_t)between(g, 0, 2);
  return compression;
}

/* Decode behind a chunk of ours, with what the thread has left of it. */
static void decode_behind(generator *g, const cat_grid *grid, const cat_piece *piece,
                          const cat_box *box, const memory *to, const decoded *expected) {
  cat_compression compression = random_compression(g);
  memory dense = dense_memory(grid->ndim, grid->itemsize, grid->chunk);
  int64_t bound = cat_encode_bound(grid);
  uint8_t *items = allocate(dense.span), *ours = allocate(bound);
  fill_random(g, items, dense.span, grid->itemsize);
  cat_where where;
  int64_t size = cat_encode(grid, &compression, items, dense.strides, grid->chunk, ours, bound, 1,
                            &where);
  cat_piece first = {0, size, ours};
  cat_box every = whole_box(grid->ndim, grid->chunk);
  decoded again = {.items = allocate(to->span), .span = to->span};
  memset(again.items, OTHER_FILL, (size_t)to->span);
  cat_part parts[] = {part_of(&first, 1, &every, items, &dense),
                      part_of(piece, 1, box, again.items, to)};
  if (size > 0) {
    again.error = cat_decode(grid, parts, 2, 1, &where);
    CHECK(where.chunk == (again.error ? 1 : -1), "part %lld", (long long)where.chunk);
    check_same(&again, expected, to);
  }
  free(again.items);
  free(items);
  free(ours);
}

/* --- files -------------------------------------------------------------------------------------- */

static int file = -1; /* in memory; each input is written over the one before */
static char path[32];

/* Write a chunk into the file, between other bytes. */
static cat_place store(generator *g, const uint8_t *chunk, int64_t size) {
  uint8_t others[64];
  int64_t before = between(g, 0, sizeof others), behind = between(g, 0, sizeof others);
  fill_random(g, others, sizeof others, 1);
  CHECK(ftruncate(file, 0) == 0 && pwrite(file, others, (size_t)before, 0) == before &&
            pwrite(file, chunk, (size_t)size, before) == size &&
            pwrite(file, others, (size_t)behind, before + size) == behind,
        "%lld bytes are not written", (long long)size);
  return (cat_place){one_in(g, 4) ? path : NULL, file, before, before + size};
}

/* Cut a box along its first dimension. Returns how many parts there are. */
static int64_t cut_box(generator *g, const cat_part *whole, int ndim, cat_part *parts, int64_t most) {
  int64_t n = 0, done = 0, count = ndim ? whole->box.count[0] : 1;
  do {
    int64_t left = count - done;
    int64_t some = left < 2 || n == most - 1 ? left : between(g, one_in(g, 8) ? 0 : 1, left);
    parts[n] = *whole;
    if (ndim && done) { /* the step of a single item may be huge */
      parts[n].box.start[0] += done * whole->box.step[0];
      parts[n].dest += done * whole->strides[0];
    }
    if (ndim) {
      parts[n].box.count[0] = some;
    }
    done += some;
    n++;
  } while (done < count);
  return n;
}

/* Decode the same parts from memory. */
static decoded decode_parts(const cat_grid *grid, const cat_piece *piece, const cat_part *parts,
                            int64_t n, const uint8_t *dest, const memory *to) {
  decoded result = {.items = allocate(to->span), .span = to->span};
  memset(result.items, FILL, (size_t)to->span);
  cat_part *copies = allocate(n * (int64_t)sizeof *copies);
  for (int64_t i = 0; i < n; i++) {
    copies[i] = parts[i];
    copies[i].place = NULL;
    copies[i].pieces = piece;
    copies[i].npieces = 1;
    copies[i].dest = result.items + (parts[i].dest - dest);
  }
  cat_where where;
  result.error = cat_decode(grid, copies, n, 1, &where);
  free(copies);
  return result;
}

/* Decode the parts, each twice, block by block for all of them. Damaged streams may fail where they did
 * not, since they are decoded further. */
static void decode_shared(const cat_grid *grid, const cat_part *parts, int64_t n) {
  cat_part *both = allocate(2 * n * (int64_t)sizeof *both);
  memcpy(both, parts, (size_t)n * sizeof *both);
  memcpy(both + n, parts, (size_t)n * sizeof *both);
  cat_where where;
  int error = cat_decode_shared(grid, both, 2 * n, 1, &where);
  CHECK(error <= 0 && where.chunk >= -1 && where.chunk < 2 * n && where.block >= -1 &&
            where.block < count_chunk_blocks(grid),
        "%d in part %lld, block %lld", error, (long long)where.chunk, (long long)where.block);
  free(both);
}

/* Decode from a file what is decoded from memory, and from pieces, to the same. Where less of the chunk
 * is there than it says, blocks that are there are in pieces, but not in a file. What damaged streams
 * hold may depend on how far they are decoded, so that only the same parts are compared. */
static void decode_from_file(generator *g, const cat_grid *grid, const cat_piece *piece,
                             const cat_box *box, const memory *to, int by_pieces) {
  enum { PARTS = 5 };
  cat_part parts[PARTS];
  cat_place place = store(g, piece->data, piece->size);
  decoded found = {.items = allocate(to->span), .span = to->span};
  memset(found.items, FILL, (size_t)to->span);
  cat_part all = part_of(NULL, 0, box, found.items, to);
  all.place = &place;
  int64_t n = cut_box(g, &all, grid->ndim, parts, one_in(g, 2) ? 1 : PARTS);
  cat_where where;
  found.error = cat_decode(grid, parts, n, one_in(g, 8) ? 3 : 1, &where);
  CHECK(where.chunk >= -1 && where.chunk < n && where.block >= -1 &&
            where.block < count_chunk_blocks(grid) && where.system == 0,
        "part %lld, block %lld, %d", (long long)where.chunk, (long long)where.block, where.system);
  int cut_off = found.error == CAT_ERROR_TRUNCATED || found.error == CAT_ERROR_END;
  by_pieces = count_items(to->ndim, to->count) == 0 ? 0 : by_pieces;
  CHECK(n > 1 || !found.error == !by_pieces || (!by_pieces && cut_off),
        "%d from a file, %d from pieces", found.error, by_pieces);
  if (!found.error) {
    decoded expected = decode_parts(grid, piece, parts, n, found.items, to);
    check_same(&found, &expected, to);
    free(expected.items);
  }
  decode_shared(grid, parts, n);
  free(found.items);
}

/* --- plans -------------------------------------------------------------------------------------- */

/* Decode from no bytes but those that the plan asks for, in memory of their own. Returns 0 or an error. */
static int decode_planned(const cat_grid *grid, const uint8_t *chunk, int64_t size,
                           const cat_box *box, const memory *to, int64_t gap,
                           const decoded *expected) {
  int64_t capacity = count_chunk_blocks(grid), need = 0, n = 0, known = size < 32 ? size : 32;
  int64_t *ranges = allocate(capacity * 2 * (int64_t)sizeof *ranges);
  uint8_t *head = copy_bytes(chunk, known);
  cat_where where;
  for (int i = 0; i < 4; i++) { /* header, offsets, dictionary */
    n = cat_plan(grid, head, known, box, 1, gap, &need, ranges, capacity, &where);
    CHECK(n <= capacity, "%lld ranges", (long long)n);
    if (n < 0 || need <= known || need > size) {
      break;
    }
    free(head);
    known = need;
    head = copy_bytes(chunk, known);
  }
  CHECK(n < 0 || need <= known || need > size, "%lld of %lld bytes", (long long)known,
        (long long)need);
  int64_t npieces = 1, stop = 0;
  cat_piece *pieces = allocate((capacity + 1) * (int64_t)sizeof *pieces);
  pieces[0] = (cat_piece){0, known, head};
  int there = n >= 0 && need <= known;
  for (int64_t i = 0; there && i < n; i++) {
    int64_t start = ranges[2 * i];
    CHECK(start >= stop && start < ranges[2 * i + 1], "range %lld", (long long)i);
    stop = ranges[2 * i + 1];
    there = stop <= size;
    if (there) {
      pieces[npieces++] = (cat_piece){start, stop - start, copy_bytes(chunk + start, stop - start)};
    }
  }
  int error = n < 0 ? (int)n : CAT_ERROR_TRUNCATED;
  if (there) {
    decoded found = decode(grid, pieces, npieces, box, to, 1, FILL);
    error = found.error;
    if (!found.error && !expected->error) {
      CHECK(memcmp(found.items, expected->items, (size_t)found.span) == 0, "%lld pieces",
            (long long)npieces);
    }
    free(found.items);
  }
  for (int64_t i = 0; i < npieces; i++) {
    free((void *)(uintptr_t)pieces[i].data);
  }
  free(pieces);
  free(ranges);
  return error;
}

/* Make the same change where the chunk is in a file. */
static void change_in_file(generator *g, const cat_grid *grid, const cat_compression *compression,
                           const uint8_t *chunk, int64_t size, const cat_box *box,
                           const decoded *items, const memory *from, int64_t expected) {
  int64_t n = 0, bound = cat_update_bound(grid, box, &n);
  if (bound < 0) {
    return;
  }
  cat_place place = store(g, chunk, size);
  cat_span *spans = allocate(n * (int64_t)sizeof *spans);
  uint8_t *fresh = allocate(bound);
  cat_where where;
  int64_t made = cat_plan_update(grid, compression, &place, box, items->items + from->first,
                                 from->strides, fresh, bound, spans, &n, one_in(g, 8) ? 3 : 1,
                                 &where);
  CHECK(made <= 0 || expected <= 0 || made == expected, "%lld bytes, in memory %lld",
        (long long)made, (long long)expected);
  int64_t sum = 0;
  for (int64_t i = 0; made > 0 && i < n; i++) {
    int64_t room = spans[i].kept ? size : bound;
    CHECK(spans[i].start >= 0 && spans[i].size > 0 && spans[i].start <= room - spans[i].size,
          "%lld bytes from %lld", (long long)spans[i].size, (long long)spans[i].start);
    sum += spans[i].size;
  }
  CHECK(made <= 0 || sum == made, "%lld of %lld bytes", (long long)sum, (long long)made);
  free(fresh);
  free(spans);
}

static void change(generator *g, const cat_grid *grid, const uint8_t *chunk, int64_t size,
                   const cat_box *box, const decoded *items, const memory *from) {
  cat_compression compression = random_compression(g);
  int64_t bound = cat_encode_bound(grid);
  uint8_t *changed = allocate(bound);
  cat_where where;
  int64_t made = cat_update(grid, &compression, chunk, size, box, items->items + from->first,
                            from->strides, changed, bound, one_in(g, 8) ? 3 : 1, &where);
  CHECK(made <= bound, "%lld bytes", (long long)made);
  change_in_file(g, grid, &compression, chunk, size, box, items, from, made);
  if (made > 0) {
    cat_piece piece = {0, made, changed};
    decoded again = decode(grid, &piece, 1, box, from, 1, FILL);
    CHECK(again.error || memcmp(again.items, items->items, (size_t)again.span) == 0,
          "what was written is not what is read");
    free(again.items);
  }
  free(changed);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  blosc2_init();
  cat_set_nthreads(3);
  file = memfd_create("chunk", MFD_CLOEXEC);
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  return file < 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const uint8_t *at = data, *end = data + size;
  cat_grid grid = {0};
  if (!take_grid(&at, end, &grid)) {
    return -1;
  }
  generator g = choices_of(data, size);
  int64_t length = end - at;
  uint8_t *chunk = copy_bytes(at, length);
  cat_box box = one_in(&g, 2) ? whole_box(grid.ndim, grid.chunk)
                              : random_box(&g, grid.ndim, grid.chunk);
  memory to = random_memory(&g, grid.ndim, grid.itemsize, box.count, 0);
  if (to.span <= 16 * MOST_BYTES) {
    cat_piece piece = {0, length, chunk};
    decoded found = decode(&grid, &piece, 1, &box, &to, 1, FILL);
    if (one_in(&g, 8)) {
      decode_again(&grid, &piece, &box, &to, &found);
      decode_behind(&g, &grid, &piece, &box, &to, &found);
    }
    int by_pieces =
        decode_planned(&grid, chunk, length, &box, &to, one_in(&g, 2) ? 0 : 64, &found);
    decode_from_file(&g, &grid, &piece, &box, &to, by_pieces);
    change(&g, &grid, chunk, length, &box, &found, &to);
    free(found.items);
  }
  free(chunk);
  return 0;
}
