/* Write golden frames with C-Blosc2 3.3.2, and what only C can easily write: both metalayers, chunks of
   different kinds in one frame, chunks deleted and reordered, 16 dimensions.

   With the sources of C-Blosc2, LZ4, Zstandard, zlib-ng and zfp in BLOSC2, LZ4, ZSTD, ZLIBNG and ZFP:

     cmake -S $BLOSC2 -B build -DCMAKE_BUILD_TYPE=Release -DBLOSC_LZ4_SOURCE_DIR=$LZ4 \
       -DBLOSC_ZSTD_SOURCE_DIR=$ZSTD -DBLOSC_ZLIBNG_SOURCE_DIR=$ZLIBNG -DBLOSC_ZFP_SOURCE_DIR=$ZFP \
       -DBUILD_TESTS=OFF -DBUILD_FUZZERS=OFF -DBUILD_BENCHMARKS=OFF -DBUILD_EXAMPLES=OFF
     cmake --build build --target blosc2_static
     cc -O1 -I$BLOSC2/include make_c_blosc2.c build/blosc/libblosc2.a -lm -lpthread -ldl -o make_c_blosc2
     ./make_c_blosc2 EMPTY_DIRECTORY && python recording.py EMPTY_DIRECTORY */

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "b2nd.h"
#include "blosc2.h"
#include "blosc2/codecs-registry.h"
#include "blosc2/filters-registry.h"

typedef struct {
  const char *name;
  int8_t ndim;
  int64_t shape[B2ND_MAX_DIM];
  int32_t chunks[B2ND_MAX_DIM];
  int32_t blocks[B2ND_MAX_DIM];
  const char *dtype;
  int32_t itemsize;
  uint8_t codec, codec_meta, clevel;
  uint8_t filters[BLOSC2_MAX_FILTERS];
  uint8_t filters_meta[BLOSC2_MAX_FILTERS];
  int16_t nthreads;
  int split;
  bool dictionary, sparse, both;
  double tolerance; /* of a lossy pipeline, for 4 and 8 byte floats; 0 means lossless */
  int nmeta;        /* metalayers of a user */
  const char *note;
} spec_t;

static const char *directory;
static FILE *entries;

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

static void check(int64_t code, const char *name, const char *step) {
  if (code < 0) {
    fail("%s: %s returned %lld", name, step, (long long) code);
  }
}

static void *allocate(int64_t size) {
  void *memory = calloc(1, size > 0 ? (size_t) size : 1);
  if (memory == NULL) {
    fail("out of memory");
  }
  return memory;
}

static char *path_of(const char *name, const char *suffix) {
  char *path = allocate((int64_t) (strlen(directory) + strlen(name) + strlen(suffix) + 2));
  sprintf(path, "%s/%s%s", directory, name, suffix);
  return path;
}

static int64_t count_items(const spec_t *spec) {
  int64_t count = 1;
  for (int i = 0; i < spec->ndim; i++) {
    count *= spec->shape[i];
  }
  return count;
}

/* A slow ramp with a ripple, in the item type that the dtype names. */
static void *values(const spec_t *spec) {
  int64_t count = count_items(spec);
  uint8_t *data = allocate(count * spec->itemsize);
  for (int64_t i = 0; i < count; i++) {
    int64_t number = i / 3 + i % 7;
    uint8_t *item = data + i * spec->itemsize;
    if (strcmp(spec->dtype, "<f4") == 0) {
      float value = (float) sin((double) number / 40);
      memcpy(item, &value, 4);
    } else if (strcmp(spec->dtype, "<f8") == 0) {
      double value = sin((double) number / 40);
      memcpy(item, &value, 8);
    } else {
      for (int j = 0; j < spec->itemsize; j++) {
        item[j] = (uint8_t) (j < 8 ? number >> (8 * j) : number + j / 9);
      }
    }
  }
  return data;
}

/* msgpack of the caterva metalayer: [version, ndim, shape, chunk shape, block shape] */
static int32_t caterva_metalayer(const spec_t *spec, uint8_t *out) {
  uint8_t *p = out;
  *p++ = 0x95;
  *p++ = 0;
  *p++ = (uint8_t) spec->ndim;
  for (int part = 0; part < 3; part++) {
    *p++ = (uint8_t) (0x90 + spec->ndim);
    for (int i = 0; i < spec->ndim; i++) {
      int width = part == 0 ? 8 : 4;
      int64_t value = part == 0 ? spec->shape[i] : part == 1 ? spec->chunks[i] : spec->blocks[i];
      *p++ = part == 0 ? 0xd3 : 0xd2;
      for (int j = width - 1; j >= 0; j--) {
        *p++ = (uint8_t) (value >> (8 * j));
      }
    }
  }
  return (int32_t) (p - out);
}

static blosc2_cparams cparams_of(const spec_t *spec) {
  blosc2_cparams cparams = BLOSC2_CPARAMS_DEFAULTS;
  cparams.compcode = spec->codec;
  cparams.compcode_meta = spec->codec_meta;
  cparams.clevel = spec->clevel;
  cparams.typesize = spec->itemsize;
  cparams.nthreads = spec->nthreads > 0 ? spec->nthreads : 1;
  cparams.use_dict = spec->dictionary;
  cparams.splitmode = spec->split != 0 ? spec->split : BLOSC_FORWARD_COMPAT_SPLIT;
  memcpy(cparams.filters, spec->filters, BLOSC2_MAX_FILTERS);
  memcpy(cparams.filters_meta, spec->filters_meta, BLOSC2_MAX_FILTERS);
  return cparams;
}

static b2nd_context_t *context_of(const spec_t *spec, bool in_memory) {
  static uint8_t content[1024];
  static uint8_t user_content[B2ND_MAX_METALAYERS][200];
  static char names[B2ND_MAX_METALAYERS][16];
  blosc2_cparams cparams = cparams_of(spec);
  blosc2_dparams dparams = BLOSC2_DPARAMS_DEFAULTS;
  blosc2_storage storage = BLOSC2_STORAGE_DEFAULTS;
  storage.cparams = &cparams;
  storage.dparams = &dparams;
  storage.contiguous = !spec->sparse;
  storage.urlpath = in_memory ? NULL : path_of(spec->name, spec->sparse ? "" : ".b2frame");
  blosc2_metalayer metalayers[B2ND_MAX_METALAYERS];
  int count = 0;
  if (spec->both) {
    metalayers[count++] = (blosc2_metalayer) {"caterva", content, caterva_metalayer(spec, content)};
  }
  for (int i = 0; i < spec->nmeta; i++) {
    sprintf(names[i], "user-%d", i);
    memset(user_content[i], i, sizeof user_content[i]);
    metalayers[count++] = (blosc2_metalayer) {names[i], user_content[i], 1 + i * 5};
  }
  b2nd_context_t *context = b2nd_create_ctx(&storage, spec->ndim, spec->shape, spec->chunks, spec->blocks,
                                            spec->dtype, DTYPE_NUMPY_FORMAT, metalayers, count);
  if (context == NULL) {
    fail("%s: no context", spec->name);
  }
  return context;
}

static b2nd_array_t *create(const spec_t *spec, const void *data) {
  b2nd_array_t *array;
  b2nd_context_t *context = context_of(spec, false);
  check(b2nd_from_cbuffer(context, &array, data, count_items(spec) * spec->itemsize), spec->name, "create");
  b2nd_free_ctx(context);
  return array;
}

static uint8_t *read_file(const char *path, int64_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    fail("cannot read %s", path);
  }
  fseek(file, 0, SEEK_END);
  *size = ftell(file);
  rewind(file);
  uint8_t *contents = allocate(*size);
  if (fread(contents, 1, (size_t) *size, file) != (size_t) *size) {
    fail("cannot read %s", path);
  }
  fclose(file);
  return contents;
}

static void write_file(const char *path, const void *contents, int64_t size) {
  FILE *file = fopen(path, "wb");
  if (file == NULL || fwrite(contents, 1, (size_t) size, file) != (size_t) size || fclose(file) != 0) {
    fail("cannot write %s", path);
  }
}

static b2nd_array_t *open_again(const spec_t *spec) {
  b2nd_array_t *array;
  if (spec->sparse) {
    check(b2nd_open(path_of(spec->name, ""), &array), spec->name, "open");
  } else {
    int64_t size;
    uint8_t *frame = read_file(path_of(spec->name, ".b2frame"), &size);
    check(b2nd_from_cframe(frame, size, true, &array), spec->name, "from_cframe");
    free(frame);
  }
  return array;
}

static bool is_close(const uint8_t *got, const uint8_t *wanted, int64_t nbytes, const spec_t *spec) {
  for (int64_t i = 0; i < nbytes / spec->itemsize; i++) {
    double a, b;
    if (spec->itemsize == 4) {
      a = ((const float *) got)[i];
      b = ((const float *) wanted)[i];
    } else {
      a = ((const double *) got)[i];
      b = ((const double *) wanted)[i];
    }
    if (!(fabs(a - b) <= spec->tolerance)) {
      return false;
    }
  }
  return true;
}

static const char *codec_name(int codec) {
  switch (codec) {
    case BLOSC_BLOSCLZ: return "BLOSCLZ";
    case BLOSC_LZ4: return "LZ4";
    case BLOSC_LZ4HC: return "LZ4HC";
    case BLOSC_ZLIB: return "ZLIB";
    case BLOSC_ZSTD: return "ZSTD";
    case BLOSC_CODEC_NDLZ: return "NDLZ";
    case BLOSC_CODEC_ZFP_FIXED_ACCURACY: return "ZFP_ACC";
    case BLOSC_CODEC_ZFP_FIXED_PRECISION: return "ZFP_PREC";
    case BLOSC_CODEC_ZFP_FIXED_RATE: return "ZFP_RATE";
  }
  fail("codec %d has no name", codec);
  return NULL;
}

static const char *filter_name(int filter) {
  switch (filter) {
    case BLOSC_SHUFFLE: return "SHUFFLE";
    case BLOSC_BITSHUFFLE: return "BITSHUFFLE";
    case BLOSC_DELTA: return "DELTA";
    case BLOSC_TRUNC_PREC: return "TRUNC_PREC";
    case BLOSC_FILTER_NDCELL: return "NDCELL";
    case BLOSC_FILTER_NDMEAN: return "NDMEAN";
    case BLOSC_FILTER_BYTEDELTA: return "BYTEDELTA";
    case BLOSC_FILTER_INT_TRUNC: return "INT_TRUNC";
  }
  fail("filter %d has no name", filter);
  return NULL;
}

static void print_hex(const uint8_t *content, int32_t size) {
  for (int32_t i = 0; i < size; i++) {
    fprintf(entries, "%02x", content[i]);
  }
}

static void print_shape(const char *key, int ndim, const int64_t *wide, const int32_t *narrow) {
  fprintf(entries, ", \"%s\": [", key);
  for (int i = 0; i < ndim; i++) {
    fprintf(entries, "%s%lld", i > 0 ? ", " : "", wide != NULL ? (long long) wide[i] : (long long) narrow[i]);
  }
  fprintf(entries, "]");
}

/* Read the frame again, compare, and log it. The array is freed; undefined: no values to compare. */
static void record(const spec_t *spec, b2nd_array_t *array, const void *expected, bool undefined) {
  check(b2nd_free(array), spec->name, "free");
  array = open_again(spec);
  blosc2_schunk *schunk = array->sc;
  int64_t nbytes = array->nitems * schunk->typesize;
  uint8_t *decoded = allocate(nbytes);
  if (!undefined && nbytes > 0) {
    check(b2nd_to_cbuffer(array, decoded, nbytes), spec->name, "decode");
    bool same = spec->tolerance > 0 ? is_close(decoded, expected, nbytes, spec)
                                    : memcmp(decoded, expected, (size_t) nbytes) == 0;
    if (!same) {
      fail("%s: C-Blosc2 does not read what it wrote", spec->name);
    }
  }
  write_file(path_of(spec->name, ".raw"), undefined ? expected : decoded, nbytes);

  fprintf(entries, "{\"name\": \"%s\", \"writer\": \"C-Blosc2\", \"version\": \"%s\", \"dtype\": \"%s\"",
          spec->name, blosc2_get_version_string(), array->dtype);
  print_shape("shape", array->ndim, array->shape, NULL);
  print_shape("chunks", array->ndim, NULL, array->chunkshape);
  print_shape("blocks", array->ndim, NULL, array->blockshape);
  fprintf(entries, ", \"codec\": \"%s\", \"clevel\": %d, \"filters\": [", codec_name(spec->codec), spec->clevel);
  const char *separator = "";
  for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
    if (spec->filters[i] != BLOSC_NOFILTER) {
      fprintf(entries, "%s\"%s\"", separator, filter_name(spec->filters[i]));
      separator = ", ";
    }
  }
  fprintf(entries, "], \"metalayers\": [\"b2nd\"%s], \"meta\": {", spec->both ? ", \"caterva\"" : "");
  separator = "";
  for (int i = 0; i < schunk->nmetalayers; i++) {
    blosc2_metalayer *layer = schunk->metalayers[i];
    if (strcmp(layer->name, "b2nd") != 0 && strcmp(layer->name, "caterva") != 0) {
      fprintf(entries, "%s\"%s\": \"", separator, layer->name);
      print_hex(layer->content, layer->content_len);
      fprintf(entries, "\"");
      separator = ", ";
    }
  }
  fprintf(entries, "}, \"vlmeta\": {");
  separator = "";
  for (int i = 0; i < schunk->nvlmetalayers; i++) {
    uint8_t *content;
    int32_t size;
    const char *name = schunk->vlmetalayers[i]->name;
    check(blosc2_vlmeta_get(schunk, name, &content, &size), spec->name, "vlmeta");
    fprintf(entries, "%s\"%s\": \"", separator, name);
    print_hex(content, size);
    fprintf(entries, "\"");
    free(content);
    separator = ", ";
  }
  fprintf(entries, "}, \"note\": \"%s\"}\n", spec->note != NULL ? spec->note : "");
  free(decoded);
  b2nd_free(array);
}

static void write_array(spec_t spec) {
  void *data = values(&spec);
  record(&spec, create(&spec, data), data, false);
  free(data);
}

static const spec_t MATRIX = {
  .ndim = 2, .shape = {15, 11}, .chunks = {7, 6}, .blocks = {4, 4}, .dtype = "<i4", .itemsize = 4,
  .codec = BLOSC_LZ4, .clevel = 5, .filters = {0, 0, 0, 0, 0, BLOSC_SHUFFLE}};

static const spec_t LINE = {
  .ndim = 1, .shape = {60}, .chunks = {20}, .blocks = {8}, .dtype = "<f4", .itemsize = 4,
  .codec = BLOSC_LZ4, .clevel = 5, .filters = {0, 0, 0, 0, 0, BLOSC_SHUFFLE}};

static spec_t named(spec_t spec, const char *name, const char *note) {
  spec.name = name;
  spec.note = note;
  return spec;
}

static void write_codecs_and_filters(void) {
  const char *codec_names[] = {"codec-blosclz", "codec-lz4", "codec-lz4hc", NULL, "codec-zlib", "codec-zstd"};
  for (uint8_t codec = 0; codec < BLOSC_LAST_CODEC; codec++) {
    if (codec_names[codec] != NULL) {
      spec_t spec = named(MATRIX, codec_names[codec], NULL);
      spec.codec = codec;
      write_array(spec);
    }
  }
  spec_t spec = named(MATRIX, "clevel-0", NULL);
  spec.clevel = 0;
  write_array(spec);
  spec = named(MATRIX, "filter-bytedelta", NULL);
  spec.filters[4] = BLOSC_SHUFFLE;
  spec.filters[5] = BLOSC_FILTER_BYTEDELTA;
  write_array(spec);
  spec = named(MATRIX, "filter-delta", NULL);
  spec.filters[5] = BLOSC_DELTA;
  write_array(spec);
  spec = named(MATRIX, "filter-first-slot", "the filter stands in the first of the six slots");
  spec.filters[5] = 0;
  spec.filters[0] = BLOSC_BITSHUFFLE;
  write_array(spec);
  spec = named(MATRIX, "filter-ndcell", NULL);
  spec.filters[5] = BLOSC_FILTER_NDCELL;
  spec.filters_meta[5] = 4;
  write_array(spec);
  spec = named(MATRIX, "codec-ndlz", NULL);
  spec.dtype = "|u1";
  spec.itemsize = 1;
  spec.shape[0] = 29;
  spec.shape[1] = 20;
  spec.chunks[0] = 24;
  spec.chunks[1] = 16;
  spec.blocks[0] = 16;
  spec.blocks[1] = 8;
  spec.filters[5] = 0;
  spec.codec = BLOSC_CODEC_NDLZ;
  spec.codec_meta = 4;
  write_array(spec);

  const char *zfp_names[] = {"codec-zfp-acc", "codec-zfp-prec", "codec-zfp-rate"};
  const uint8_t zfp_meta[] = {(uint8_t) -3, 20, 40};
  for (int i = 0; i < 3; i++) {
    spec = named(MATRIX, zfp_names[i], "lossy; both metalayers");
    spec.dtype = "<f8";
    spec.itemsize = 8;
    spec.filters[5] = 0;
    spec.codec = (uint8_t) (BLOSC_CODEC_ZFP_FIXED_ACCURACY + i);
    spec.codec_meta = zfp_meta[i];
    spec.both = true;
    spec.tolerance = 0.3;
    write_array(spec);
  }
}

static void write_geometries(void) {
  spec_t spec = named(MATRIX, "ndim-0", NULL);
  spec.ndim = 0;
  write_array(spec);
  spec = named(MATRIX, "ndim-16", "the most dimensions that b2nd has");
  spec.ndim = 16;
  for (int i = 0; i < 16; i++) {
    spec.shape[i] = i % 5 == 0 ? 3 : 1;
    spec.chunks[i] = i % 5 == 0 ? 2 : 1;
    spec.blocks[i] = i == 5 ? 2 : 1;
  }
  write_array(spec);
  spec = named(MATRIX, "itemsize-300", NULL);
  spec.dtype = "|S300";
  spec.itemsize = 300;
  spec.shape[0] = 5;
  spec.shape[1] = 3;
  spec.chunks[0] = spec.chunks[1] = spec.blocks[0] = 2;
  spec.blocks[1] = 1;
  write_array(spec);
  spec = named(MATRIX, "itemsize-1000", NULL);
  spec.dtype = "|V1000";
  spec.itemsize = 1000;
  spec.shape[0] = 2;
  spec.shape[1] = 3;
  spec.chunks[0] = 2;
  spec.chunks[1] = 2;
  spec.blocks[0] = 2;
  spec.blocks[1] = 2;
  write_array(spec);
  spec = named(MATRIX, "structured", NULL);
  spec.dtype = "[('id', '<i4'), ('big', '>f4'), ('tag', 'S8')]";
  spec.itemsize = 16;
  write_array(spec);
  spec = named(MATRIX, "zero-length", NULL);
  spec.shape[1] = 0;
  write_array(spec);
}

static void write_metalayers(void) {
  spec_t spec = named(MATRIX, "both-metalayers", NULL);
  spec.both = true;
  write_array(spec);
  spec = named(MATRIX, "both-metalayers-sparse", NULL);
  spec.both = spec.sparse = true;
  write_array(spec);

  spec = named(MATRIX, "both-metalayers-resized", "b2nd_resize leaves the caterva metalayer stale");
  spec.both = true;
  int32_t *data = values(&spec);
  b2nd_array_t *array = create(&spec, data);
  check(b2nd_resize(array, (int64_t[]) {8, 11}, NULL), spec.name, "resize");
  record(&spec, array, data, false);
  free(data);

  spec = named(MATRIX, "metalayers", "15 metalayers of a user, 15 of variable length, one changed, one deleted");
  spec.nmeta = 15;
  data = values(&spec);
  array = create(&spec, data);
  uint8_t content[600];
  for (int i = 0; i < 15; i++) {
    char name[16];
    sprintf(name, "vl-%d", i);
    memset(content, i, sizeof content);
    content[0] = 255;
    check(blosc2_vlmeta_add(array->sc, name, content, i == 7 ? 600 : 1 + i * 11, NULL), spec.name, "vlmeta_add");
  }
  check(blosc2_vlmeta_update(array->sc, "vl-3", content, 300, NULL), spec.name, "vlmeta_update");
  check(blosc2_vlmeta_delete(array->sc, "vl-5"), spec.name, "vlmeta_delete");
  record(&spec, array, data, false);
  free(data);
}

/* Compress one chunk's items (padded with zeros, as in the array) with other parameters. */
static uint8_t *compress_chunk(const spec_t *spec, const void *items, int32_t padded_items) {
  blosc2_cparams cparams = cparams_of(spec);
  cparams.blocksize = spec->blocks[0] * spec->itemsize;
  blosc2_context *context = blosc2_create_cctx(cparams);
  int32_t nbytes = padded_items * spec->itemsize;
  uint8_t *padded = allocate(nbytes);
  uint8_t *chunk = allocate(nbytes + BLOSC2_MAX_OVERHEAD);
  memcpy(padded, items, (size_t) (spec->chunks[0] * spec->itemsize));
  check(blosc2_compress_ctx(context, padded, nbytes, chunk, nbytes + BLOSC2_MAX_OVERHEAD), spec->name, "compress");
  blosc2_free_ctx(context);
  free(padded);
  return chunk;
}

static void write_mixed_chunks(void) {
  /* A line of three blocks of 8 a chunk: 20 items, padded to 24. */
  const int padded_items = 24;
  const int32_t padded_nbytes = padded_items * 4;
  spec_t spec = named(LINE, "special-chunks", "chunks of zeros, NaN, a value, level 0, and compressed ones");
  spec.shape[0] = 115;
  float *data = values(&spec);
  b2nd_array_t *array = create(&spec, data);
  blosc2_cparams cparams = cparams_of(&spec);
  cparams.blocksize = spec.blocks[0] * spec.itemsize;
  uint8_t chunk[256];
  float value = 1.25f;
  check(blosc2_chunk_zeros(cparams, padded_nbytes, chunk, sizeof chunk), spec.name, "zeros");
  check(blosc2_schunk_update_chunk(array->sc, 0, chunk, true), spec.name, "update");
  check(blosc2_chunk_nans(cparams, padded_nbytes, chunk, sizeof chunk), spec.name, "nans");
  check(blosc2_schunk_update_chunk(array->sc, 2, chunk, true), spec.name, "update");
  check(blosc2_chunk_repeatval(cparams, padded_nbytes, chunk, sizeof chunk, &value), spec.name, "repeatval");
  check(blosc2_schunk_update_chunk(array->sc, 3, chunk, true), spec.name, "update");
  spec_t stored = spec;
  stored.clevel = 0;
  uint8_t *plain = compress_chunk(&stored, data + 80, padded_items);
  check(blosc2_schunk_update_chunk(array->sc, 4, plain, true), spec.name, "update");
  free(plain);
  for (int i = 0; i < 20; i++) {
    data[i] = 0;
    data[40 + i] = nanf("");
    data[60 + i] = value;
  }
  record(&spec, array, data, false);
  free(data);

  spec = named(LINE, "special-uninit", "the middle chunk's values are undefined; zeros by our promise");
  data = values(&spec);
  array = create(&spec, data);
  check(blosc2_chunk_uninit(cparams, padded_nbytes, chunk, sizeof chunk), spec.name, "uninit");
  check(blosc2_schunk_update_chunk(array->sc, 1, chunk, true), spec.name, "update");
  memset(data + 20, 0, 20 * sizeof *data);
  record(&spec, array, data, true);
  free(data);

  spec = named(LINE, "mixed-codecs", "each chunk has its own codec and filter");
  spec.shape[0] = 100;
  data = values(&spec);
  array = create(&spec, data);
  const uint8_t codecs[] = {BLOSC_ZSTD, BLOSC_BLOSCLZ, BLOSC_ZLIB, BLOSC_LZ4HC, BLOSC_LZ4};
  const uint8_t filters[] = {BLOSC_BITSHUFFLE, BLOSC_NOFILTER, BLOSC_DELTA, BLOSC_SHUFFLE, BLOSC_BITSHUFFLE};
  for (int i = 0; i < 5; i++) {
    spec_t other = spec;
    other.codec = codecs[i];
    other.filters[5] = filters[i];
    uint8_t *compressed = compress_chunk(&other, data + 20 * i, padded_items);
    check(blosc2_schunk_update_chunk(array->sc, i, compressed, true), spec.name, "update");
    free(compressed);
  }
  record(&spec, array, data, false);
  free(data);

  spec = named(LINE, "first-chunk-deleted", "the only chunk does not start where the header ends");
  spec.shape[0] = 20;
  data = values(&spec);
  array = create(&spec, data);
  float next[24] = {0};
  for (int i = 0; i < 20; i++) {
    next[i] = (float) (100 + i);
  }
  check(blosc2_schunk_append_buffer(array->sc, next, sizeof next), spec.name, "append");
  check(blosc2_schunk_delete_chunk(array->sc, 0), spec.name, "delete");
  record(&spec, array, next, false);
  free(data);

  spec = named(LINE, "chunks-reordered", "chunks are stored in another order than that of the array");
  data = values(&spec);
  array = create(&spec, data);
  check(blosc2_schunk_reorder_offsets(array->sc, (int64_t[]) {2, 0, 1}), spec.name, "reorder");
  float reordered[60];
  for (int i = 0; i < 3; i++) {
    memcpy(reordered + 20 * i, data + 20 * ((i + 2) % 3), 20 * sizeof *data);
  }
  record(&spec, array, reordered, false);
  free(data);

  spec = named(MATRIX, "inserted-and-deleted", "b2nd_insert and b2nd_delete of whole chunks");
  int32_t *ints = values(&spec);
  array = create(&spec, ints);
  int32_t rows[7 * 11];
  for (int i = 0; i < 7 * 11; i++) {
    rows[i] = -i;
  }
  check(b2nd_insert(array, rows, sizeof rows, 0, 0), spec.name, "insert");
  check(b2nd_delete(array, 0, 7, 7), spec.name, "delete");
  int32_t *changed = allocate(15 * 11 * 4);
  memcpy(changed, rows, sizeof rows);
  memcpy(changed + 7 * 11, ints + 7 * 11, 8 * 11 * 4);
  record(&spec, array, changed, false);
  free(changed);
  free(ints);
}

static int32_t little_endian(const uint8_t *bytes) {
  return (int32_t) ((uint32_t) bytes[0] | (uint32_t) bytes[1] << 8 | (uint32_t) bytes[2] << 16 |
                    (uint32_t) bytes[3] << 24);
}

/* Write until the first chunk has the property: with threads the order of blocks is a matter of luck. */
static void write_until(spec_t spec, const void *data, bool (*accept)(const uint8_t *)) {
  for (int attempt = 0; attempt < 5000; attempt++) {
    b2nd_array_t *array;
    b2nd_context_t *context = context_of(&spec, true);
    check(b2nd_from_cbuffer(context, &array, data, count_items(&spec) * spec.itemsize), spec.name, "create");
    b2nd_free_ctx(context);
    uint8_t *chunk, *frame;
    bool free_chunk, free_frame;
    int64_t size;
    check(blosc2_schunk_get_chunk(array->sc, 0, &chunk, &free_chunk), spec.name, "get_chunk");
    if (accept(chunk)) {
      check(b2nd_to_cframe(array, &frame, &size, &free_frame), spec.name, "to_cframe");
      write_file(path_of(spec.name, ".b2frame"), frame, size);
      record(&spec, array, data, false);
      return;
    }
    b2nd_free(array);
  }
  fail("%s: C-Blosc2 never wrote such a frame", spec.name);
}

static bool out_of_order(const uint8_t *chunk) {
  int32_t count = little_endian(chunk + 4) / little_endian(chunk + 8);
  for (int32_t i = 1; i < count; i++) {
    if (little_endian(chunk + 32 + 4 * i) < little_endian(chunk + 28 + 4 * i)) {
      return true;
    }
  }
  return false;
}

static bool uses_dictionary(const uint8_t *chunk) {
  return (chunk[31] & BLOSC2_USEDICT) != 0;
}

static void write_threads_and_dictionaries(void) {
  spec_t spec = named(MATRIX, "threads", "blocks are stored out of order");
  for (int i = 0; i < 2; i++) {
    spec.shape[i] = spec.chunks[i] = 24;
    spec.blocks[i] = 6;
  }
  spec.nthreads = 4;
  spec.codec = BLOSC_ZSTD;
  uint32_t *data = values(&spec);
  uint32_t state = 1;
  for (int i = 0; i < 24 * 24; i++) {
    state = state * 1664525u + 1013904223u;
    if ((i / 24) % 12 < 6) {
      data[i] = state;
    }
  }
  write_until(spec, data, out_of_order);
  free(data);

  const struct { const char *name; uint8_t codec; } dictionaries[] = {
    {"dictionary-zstd", BLOSC_ZSTD}, {"dictionary-lz4hc", BLOSC_LZ4HC}};
  for (int i = 0; i < 2; i++) {
    spec = named(MATRIX, dictionaries[i].name, NULL);
    spec.shape[0] = spec.shape[1] = spec.chunks[0] = spec.chunks[1] = 16;
    spec.blocks[0] = 8;
    spec.dtype = "|S32";
    spec.itemsize = 32;
    spec.codec = dictionaries[i].codec;
    spec.filters[5] = 0;
    spec.dictionary = true;
    char *text = allocate(16 * 16 * 32 + 1);
    for (int j = 0; j < 16 * 16; j++) {
      sprintf(text + 32 * j, "%06d,instrument-%03d,value-%04d;", j % 97, j % 13, j % 61);
    }
    write_until(spec, text, uses_dictionary);
    free(text);
  }
}

static void refuse_unless_empty(void) {
  mkdir(directory, 0777);
  DIR *listing = opendir(directory);
  if (listing == NULL) {
    fail("%s is not a directory", directory);
  }
  for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
      fail("%s is not empty: golden files are never rewritten", directory);
    }
  }
  closedir(listing);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fail("usage: make_c_blosc2 EMPTY_DIRECTORY");
  }
  directory = argv[1];
  refuse_unless_empty();
  entries = fopen(path_of("entries", ".jsonl"), "w");
  if (entries == NULL) {
    fail("cannot write into %s", directory);
  }
  blosc2_init();
  write_codecs_and_filters();
  write_geometries();
  write_metalayers();
  write_mixed_chunks();
  write_threads_and_dictionaries();
  blosc2_destroy();
  return fclose(entries);
}
