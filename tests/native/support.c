#include "tests.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <blosc2/codecs-registry.h>
#include <blosc2/filters-registry.h>

static const char *running;
static uint64_t running_seed;
static int64_t running_round;
static _Thread_local sample drawn; /* the last in this thread */
static atomic_llong counts[EVENTS];

void begin_case(const char *test, uint64_t seed, int64_t round) {
  running = test;
  running_seed = seed;
  running_round = round;
}

void remember_sample(const sample *s) { drawn = *s; }

static void print_sample(const sample *s) {
  const cat_compression *c = &s->compression;
  fprintf(stderr, "\n  item size %d, codec %d (%d), level %d, split mode %d, dictionary %d, filters",
          s->grid.itemsize, c->codec, c->codec_meta, c->clevel, c->splitmode, c->use_dict);
  for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
    fprintf(stderr, " %d (%d)", c->filters[i], c->filters_meta[i]);
  }
  fputs("\n  shape, chunk, block:", stderr);
  for (int d = 0; d < s->grid.ndim; d++) {
    fprintf(stderr, " %" PRId64 " %" PRId64 " %" PRId64 ",", s->grid.shape[d], s->grid.chunk[d],
            s->grid.block[d]);
  }
}

_Noreturn void fail(const char *file, int line, const char *condition, const char *format, ...) {
  va_list arguments;
  fprintf(stderr, "%s:%d: not so: %s: ", file, line, condition);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  print_sample(&drawn);
  fprintf(stderr, "\n%s; repeat it with the arguments %" PRIu64 " 1 %" PRId64 "\n", running,
          running_seed, running_round);
  abort();
}

void count_event(int event) { atomic_fetch_add(&counts[event], 1); }

void print_counts(void) {
  static const struct {
    int event;
    const char *name;
  } names[] = {
      {CODEC_EVENTS + BLOSC_BLOSCLZ, "codec BloscLZ"},
      {CODEC_EVENTS + BLOSC_LZ4, "codec LZ4"},
      {CODEC_EVENTS + BLOSC_LZ4HC, "codec LZ4HC"},
      {CODEC_EVENTS + BLOSC_ZLIB, "codec zlib"},
      {CODEC_EVENTS + BLOSC_ZSTD, "codec Zstandard"},
      {CODEC_EVENTS + BLOSC_CODEC_NDLZ, "codec ndlz"},
      {CODEC_EVENTS + BLOSC_CODEC_ZFP_FIXED_ACCURACY, "codec zfp, accuracy"},
      {CODEC_EVENTS + BLOSC_CODEC_ZFP_FIXED_PRECISION, "codec zfp, precision"},
      {CODEC_EVENTS + BLOSC_CODEC_ZFP_FIXED_RATE, "codec zfp, rate"},
      {FILTER_EVENTS + BLOSC_SHUFFLE, "filter shuffle"},
      {FILTER_EVENTS + BLOSC_BITSHUFFLE, "filter bitshuffle"},
      {FILTER_EVENTS + BLOSC_DELTA, "filter delta"},
      {FILTER_EVENTS + BLOSC_TRUNC_PREC, "filter trunc_prec"},
      {FILTER_EVENTS + BLOSC_FILTER_NDCELL, "filter ndcell"},
      {FILTER_EVENTS + BLOSC_FILTER_NDMEAN, "filter ndmean"},
      {FILTER_EVENTS + BLOSC_FILTER_BYTEDELTA, "filter bytedelta"},
      {FILTER_EVENTS + BLOSC_FILTER_INT_TRUNC, "filter int_trunc"},
      {CHUNK_COMPRESSED, "chunk compressed"},
      {CHUNK_PLAIN, "chunk plain"},
      {CHUNK_SPECIAL, "chunk special"},
      {CHUNK_WITH_DICTIONARY, "chunk with dictionary"},
      {CHUNK_WITH_CHECKSUMS, "chunk with checksums"},
      {CHUNK_REORDERED, "chunk reordered"},
      {CHUNK_OF_SEVERAL_TASKS, "chunk of several tasks"},
      {DECODED_FROM_PIECES, "decoded from pieces"},
      {DECODED_TOGETHER, "chunks decoded together"},
      {ENCODED_TOGETHER, "chunks encoded together"},
      {DECODED_FROM_FILE, "decoded from a file"},
      {DECODED_FROM_LARGE_FILE, "decoded from a large file"},
      {FILE_REFUSED, "file refused"},
      {PIECE_MISSED, "missing piece noticed"},
      {NOT_ENCODED, "not encoded"},
      {DAMAGE_REFUSED, "damage refused"},
      {DAMAGE_DECODED, "damage decoded"},
      {CHUNK_CHANGED, "chunk changed"},
      {CHUNK_CHANGED_IN_PLACE, "chunk changed in place"},
      {CHUNK_CHANGED_IN_FILE, "chunk changed in a file"},
      {READ_BY_THREADS, "read by threads"},
      {ARGUMENT_REFUSED, "argument refused"},
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    printf("%s: %lld\n", names[i].name, atomic_load(&counts[names[i].event]));
  }
}

uint64_t next_random(generator *g) { /* SplitMix64 */
  uint64_t z = g->state += UINT64_C(0x9E3779B97F4A7C15);
  z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
  return z ^ z >> 31;
}

int64_t between(generator *g, int64_t low, int64_t high) {
  return low + (int64_t)(next_random(g) % (uint64_t)(high - low + 1));
}

int one_in(generator *g, int n) { return next_random(g) % (uint64_t)n == 0; }

void *allocate(int64_t size) {
  void *memory = malloc((size_t)size);
  if (memory == NULL && (size > 0 || (memory = malloc(1)) == NULL)) {
    fputs("no memory\n", stderr);
    exit(2);
  }
  return memory;
}

uint8_t *copy_bytes(const uint8_t *from, int64_t size) {
  uint8_t *memory = allocate(size);
  if (size > 0) {
    memcpy(memory, from, (size_t)size);
  }
  return memory;
}

/* Contents that compress in all the ways that C-Blosc2 has. */
void fill_random(generator *g, uint8_t *memory, int64_t size, int64_t itemsize) {
  enum { ZEROS, NOISE, HALF_NOISE, ONE_BYTE, RAMP, FEW_VALUES, RUNS, FLOATS, KINDS };
  int kind = (int)between(g, 0, KINDS - 1);
  uint8_t byte = (uint8_t)next_random(g);
  for (int64_t i = 0; i < size; i++) {
    switch (kind) {
      case ZEROS: memory[i] = 0; break;
      case NOISE: memory[i] = (uint8_t)next_random(g); break;
      case HALF_NOISE: memory[i] = i < size / 2 ? 0 : (uint8_t)next_random(g); break;
      case ONE_BYTE: memory[i] = byte; break;
      case RAMP: memory[i] = i % itemsize == 0 ? (uint8_t)(i / itemsize) : 0; break;
      case FEW_VALUES: memory[i] = next_random(g) % 4 == 0; break;
      case RUNS:
        byte = one_in(g, 100) ? (uint8_t)next_random(g) : byte;
        memory[i] = byte;
        break;
      case FLOATS: {
        float single = (float)(i / itemsize) / 7;
        double value = (double)(i / itemsize) / 7;
        const void *number = itemsize == 8 ? (const void *)&value : &single;
        memory[i] = ((const uint8_t *)number)[i % itemsize % (itemsize == 8 ? 8 : 4)];
        break;
      }
    }
  }
}
