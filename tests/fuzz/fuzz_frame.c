/* A frame from a stranger, opened in memory or from a file as caterva_cffi does, read, and changed. */
#include "support.h"

#include <unistd.h>

enum { CHUNK_HEADER = BLOSC_EXTENDED_HEADER_LENGTH };

static char path[] = "/tmp/fuzz_frame.XXXXXX";

static int64_t load_big(const uint8_t *at, int size) {
  uint64_t value = size < 8 && at[0] & 0x80 ? UINT64_MAX : 0;
  for (int i = 0; i < size; i++) {
    value = value << 8 | at[i];
  }
  return (int64_t)value;
}

/* --- what our Python code checks ---------------------------------------------------------------- */

/* As `check_byte_chunk`. */
static int is_byte_chunk(const uint8_t *chunk) {
  int ok = (chunk[2] & 5) == 5 && chunk[2] >> 5 <= 4 && !(chunk[31] & 0x88) && !chunk[30];
  for (int i = 16; i < 22; i++) {
    ok = ok && chunk[i] <= 4;
  }
  return ok;
}

/* As `check_offsets_chunk`; and few chunks. */
static int may_be_opened(const uint8_t *frame, int64_t size) {
  if (size < 87 || memcmp(frame + 2, "b2frame", 8) != 0) {
    return 1; /* C-Blosc2 refuses it */
  }
  int64_t header = load_big(frame + 11, 4), nbytes = load_big(frame + 30, 8);
  int64_t cbytes = load_big(frame + 39, 8), chunk = load_big(frame + 58, 4);
  int sparse = (frame[26] & 15) == 1;
  int64_t at = sparse ? header : (int64_t)((uint64_t)header + (uint64_t)cbytes);
  if (nbytes <= 0) {
    return at >= 87 && at <= size; /* what chunks are added to has room for these bytes */
  }
  return chunk > 0 && at >= 87 && at <= size - CHUNK_HEADER && is_byte_chunk(frame + at) &&
         nbytes / chunk <= MOST_CHUNKS;
}

static int compare_int64(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* As `FrameHeader.decode_offsets`: whether chunks lie apart; the offsets are sorted then. */
static int lie_apart(int64_t *offsets, int64_t n, int64_t cbytes) {
  qsort(offsets, (size_t)n, sizeof *offsets, compare_int64);
  for (int64_t i = 0; i < n; i++) {
    if (offsets[i] > cbytes - CHUNK_HEADER ||
        (i > 0 && offsets[i - 1] >= 0 && offsets[i] - offsets[i - 1] < CHUNK_HEADER)) {
      return 0;
    }
  }
  return 1;
}

/* As `check_stored`: whether the first chunk is there, of a frame that may be opened. */
static int may_be_opened_in_a_file(const uint8_t *frame, int64_t size) {
  if (size < 87 || load_big(frame + 30, 8) <= 0) {
    return 1;
  }
  int64_t header = load_big(frame + 11, 4), chunk = load_big(frame + 58, 4);
  int64_t chunks = load_big(frame + 39, 8), at = (int64_t)((uint64_t)header + (uint64_t)chunks);
  int64_t cbytes = 0, first = -1, ok = 0, apart = 0;
  if (chunk < 1 || load_big(frame + 30, 8) / chunk >= MOST_CHUNKS || at > size - CHUNK_HEADER || header < 87 || at < header) {
    return 0;
  }
  int64_t nchunks = (load_big(frame + 30, 8) - 1) / chunk + 1, *offsets = allocate(8 * nchunks);
  uint8_t *copied = copy_bytes(frame + at, size - at);
  blosc2_dparams dparams = BLOSC2_DPARAMS_DEFAULTS;
  dparams.nthreads = 1;
  blosc2_context *context = blosc2_create_dctx(dparams);
  int32_t stored, given, block;
  if (blosc2_cbuffer_sizes(copied, &stored, &given, &block) == 0 && stored == 8 * nchunks &&
      given <= size - at &&
      blosc2_decompress_ctx(context, copied, given, offsets, stored) == stored) {
    first = offsets[0];
    ok = first < 0;
    apart = lie_apart(offsets, nchunks, chunks);
  }
  if (first >= 0 && first <= size - header - CHUNK_HEADER) {
    const uint8_t *start = frame + header + first;
    int32_t nbytes;
    memcpy(&nbytes, start + BLOSC2_CHUNK_NBYTES, sizeof nbytes);
    memcpy(&given, start + BLOSC2_CHUNK_CBYTES, sizeof given);
    cbytes = given;
    ok = cbytes >= CHUNK_HEADER && cbytes <= size - header - first &&
         (!is_plain(start) || is_special(start) || cbytes == CHUNK_HEADER + (int64_t)nbytes);
  }
  blosc2_free_ctx(context);
  free(copied);
  free(offsets);
  return ok && apart;
}

static int64_t take(const uint8_t **at, const uint8_t *end, int mark, int size) {
  if (end - *at < 1 + size || **at != mark) {
    return -1;
  }
  int64_t value = load_big(*at + 1, size);
  *at += 1 + size;
  return value;
}

/* As `decode_geometry`, of one metalayer. */
static int find_grid(blosc2_schunk *schunk, const char *name, cat_grid *grid) {
  uint8_t *content = NULL;
  int32_t size = 0;
  if (blosc2_meta_get(schunk, name, &content, &size) < 0 || size < 3) {
    free(content);
    return 0;
  }
  const uint8_t *at = content, *end = content + size;
  int found = 0, ndim = content[2];
  if (ndim <= CAT_MAX_DIM && content[0] >= 0x95 && content[0] <= 0x97 &&
      content[1] < 128) {
    *grid = (cat_grid){.ndim = ndim, .itemsize = schunk->typesize};
    int64_t *sides[] = {grid->shape, grid->chunk, grid->block};
    at += 3;
    found = 1;
    for (int i = 0; i < 3; i++) {
      found = found && at < end && *at == 0x90 + ndim;
      at += found;
      for (int d = 0; d < ndim; d++) {
        sides[i][d] = found ? take(&at, end, i ? 0xD2 : 0xD3, i ? 4 : 8) : -1;
      }
    }
    if (strcmp(name, "b2nd") == 0 && content[0] == 0x97) { /* as long as its dtype says */
      found = found && end - at >= 6 && at[0] == 0 && at[1] == 0xDB &&
              load_big((uint8_t[]){0, at[2], at[3], at[4], at[5]}, 5) <= end - at - 6;
    }
  }
  free(content);
  if (!found || !is_small_grid(grid)) {
    return 0;
  }
  int64_t nchunks = 1;
  for (int d = 0; d < grid->ndim; d++) {
    nchunks *= (grid->shape[d] + grid->chunk[d] - 1) / grid->chunk[d];
  }
  return schunk->nchunks == nchunks &&
         (nchunks == 0 || schunk->chunksize == count_chunk_bytes(grid));
}

/* --- what is done with it ----------------------------------------------------------------------- */

static void read_metalayers(blosc2_schunk *schunk) {
  for (int i = 0; i < schunk->nmetalayers; i++) {
    uint8_t *content = NULL;
    int32_t size;
    if (blosc2_meta_get(schunk, schunk->metalayers[i]->name, &content, &size) >= 0) {
      free(content);
    }
  }
  for (int i = 0; i < schunk->nvlmetalayers; i++) {
    char name[BLOSC2_METALAYER_NAME_MAXLEN + 1] = "";
    strncpy(name, schunk->vlmetalayers[i]->name, BLOSC2_METALAYER_NAME_MAXLEN);
    int found = blosc2_vlmeta_exists(schunk, name); /* which may read all of them anew */
    blosc2_metalayer *layer = found < 0 ? NULL : schunk->vlmetalayers[found];
    if (layer == NULL || layer->content_len < CHUNK_HEADER || !is_byte_chunk(layer->content) ||
        load_big((uint8_t[]){layer->content[7], layer->content[6], layer->content[5],
                             layer->content[4]}, 4) > MOST_BYTES) {
      continue;
    }
    uint8_t *content = NULL;
    int32_t size;
    if (blosc2_vlmeta_get(schunk, name, &content, &size) >= 0) {
      free(content);
    }
  }
}

static void read_items(generator *g, blosc2_schunk *schunk, const cat_grid *grid) {
  cat_box whole = whole_box(grid->ndim, grid->shape);
  int64_t items = 1;
  for (int d = 0; d < grid->ndim; d++) {
    if (grid->shape[d] == 0) {
      return;
    }
    items = items > MOST_BYTES ? items : items * grid->shape[d];
  }
  cat_box box = items * grid->itemsize <= MOST_BYTES && one_in(g, 2)
                    ? whole
                    : random_box(g, grid->ndim, grid->shape);
  memory to = random_memory(g, grid->ndim, grid->itemsize, box.count, 0);
  if (to.span > 16 * MOST_BYTES) {
    return;
  }
  uint8_t *dest = allocate(to.span);
  cat_where where;
  int error = cat_read(grid, schunk, &box, dest + to.first, to.strides, one_in(g, 8) ? 3 : 1,
                       &where);
  CHECK(error <= 0, "%d", error);
  CHECK(where.chunk >= -1 && where.chunk < schunk->nchunks, "chunk %lld", (long long)where.chunk);
  free(dest);
}

/* As an array of ours changes its frame: chunks come and go, metalayers are replaced. */
static void change(generator *g, blosc2_schunk *schunk, const cat_grid *grid) {
  cat_compression compression = {.codec = BLOSC_LZ4, .clevel = 1,
                                 .splitmode = BLOSC_FORWARD_COMPAT_SPLIT};
  int64_t bound = cat_encode_bound(grid);
  memory from = dense_memory(grid->ndim, grid->itemsize, grid->chunk);
  uint8_t *items = allocate(from.span), *chunk = allocate(bound);
  fill_random(g, items, from.span, grid->itemsize);
  cat_where where;
  int64_t size = cat_encode(grid, &compression, items, from.strides, grid->chunk, chunk, bound, 1,
                            &where);
  CHECK(size > 0, "%lld", (long long)size);
  int64_t any = schunk->nchunks ? between(g, 0, schunk->nchunks - 1) : 0;
  int64_t code = 0;
  switch (between(g, 0, 4)) {
    case 0: code = blosc2_schunk_append_chunk(schunk, chunk, true); break;
    case 1: code = blosc2_schunk_insert_chunk(schunk, any, chunk, true); break;
    case 2: code = blosc2_schunk_update_chunk(schunk, any, chunk, true); break;
    case 3: code = blosc2_schunk_delete_chunk(schunk, any); break;
    default: {
      blosc2_cparams cparams = BLOSC2_CPARAMS_DEFAULTS;
      cparams.typesize = 1;
      cparams.nthreads = 1;
      if (schunk->nvlmetalayers < BLOSC2_MAX_METALAYERS) {
        code = blosc2_vlmeta_add(schunk, "new", items, from.span < 99 ? (int32_t)from.span : 99,
                                 &cparams);
      }
    }
  }
  free(items);
  free(chunk);
  if (code < 0 || (schunk->nchunks > 0 && schunk->chunksize == 0)) {
    return; /* as `Shared.write` and `SChunk.ptr`: the array is refused from then on */
  }
  read_metalayers(schunk);
  for (int64_t i = 0; i < schunk->nchunks && i < 4; i++) {
    uint8_t *found = NULL;
    bool needs_free = false;
    if (blosc2_schunk_get_chunk(schunk, i, &found, &needs_free) >= 0 && needs_free) {
      free(found);
    }
  }
}

static blosc2_schunk *open_file(const uint8_t *data, size_t size) {
  FILE *file = fopen(path, "wb");
  CHECK(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0, "%s", path);
  return blosc2_schunk_open(path);
}

static void remove_array(void) { unlink(path); }

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  int descriptor = mkstemp(path);
  CHECK(descriptor >= 0, "%s", path);
  close(descriptor);
  atexit(remove_array);
  blosc2_init();
  cat_set_nthreads(3);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!may_be_opened(data, (int64_t)size)) {
    return -1;
  }
  generator g = choices_of(data, size);
  int in_file = one_in(&g, 8) && may_be_opened_in_a_file(data, (int64_t)size), copied = !in_file && one_in(&g, 2);
  uint8_t *frame = in_file ? NULL : copy_bytes(data, (int64_t)size);
  blosc2_schunk *schunk = in_file ? open_file(data, size)
                                  : blosc2_schunk_from_buffer(frame, (int64_t)size, false);
  if (schunk != NULL && !in_file) {
    blosc2_schunk_avoid_cframe_free(schunk, !copied);
  }
  cat_grid grid;
  if (schunk != NULL) {
    read_metalayers(schunk);
    if (find_grid(schunk, "b2nd", &grid) || find_grid(schunk, "caterva", &grid)) {
      if (!in_file) {
        read_items(&g, schunk, &grid);
      }
      if (copied || (in_file && one_in(&g, 2))) {
        change(&g, schunk, &grid);
      }
    }
    blosc2_schunk_free(schunk);
  }
  if (schunk == NULL || !copied) {
    free(frame);
  }
  return 0;
}
