/* test_kernel SEED ROUNDS [FIRST]: run so many rounds, each of one seed and its number.
 * test_kernel read|overflow: let the kernel do what the sanitizers must report. */
#include "tests.h"

static const struct {
  const char *name;
  void (*run)(generator *g);
} tests[] = {
    {"round trip", test_round_trip},
    {"errors in threads", test_threads_agree_on_errors},
    {"changes", test_changes},
    {"special chunks", test_special_chunks},
    {"many chunks", test_many_chunks},
    {"many sources", test_many_sources},
    {"files", test_files},
    {"damage", test_damage},
    {"arguments", test_arguments},
    {"super-chunks", test_super_chunks},
};

/* The source's last byte is missing, or there are more parts than tasks can be counted for. */
static void do_wrong(int overflow) {
  enum { LARGE = 1 << 20 };
  cat_grid grid = {.ndim = 1, .itemsize = 1, .shape = {LARGE}, .chunk = {LARGE}, .block = {LARGE}};
  cat_compression compression = {.codec = BLOSC_LZ4};
  int64_t stride = 1, bound = cat_encode_bound(&grid);
  uint8_t *src = allocate(LARGE - 1), *dest = allocate(bound);
  cat_where where;
  if (overflow) {
    cat_part part = {.box = whole_box(1, grid.chunk)};
    cat_decode(&grid, &part, INT64_MAX, 4, &where);
  } else {
    cat_encode(&grid, &compression, src, &stride, grid.chunk, dest, bound, 1, &where);
  }
  free(src);
  free(dest);
}

int main(int argc, char **argv) {
  if (argc == 2 && (strcmp(argv[1], "read") == 0 || strcmp(argv[1], "overflow") == 0)) {
    blosc2_init();
    do_wrong(argv[1][0] == 'o');
    blosc2_destroy();
    return 0;
  }
  if (argc < 3 || argc > 4) {
    fputs("usage: test_kernel SEED ROUNDS [FIRST]\n", stderr);
    return 2;
  }
  uint64_t seed = strtoull(argv[1], NULL, 10);
  int64_t rounds = strtoll(argv[2], NULL, 10);
  int64_t first = argc > 3 ? strtoll(argv[3], NULL, 10) : 0;
  blosc2_init();
  cat_set_nthreads(3);
  int descriptors = count_descriptors();
  for (int64_t round = first; round < first + rounds; round++) {
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
      generator g = {seed};
      g.state = next_random(&g) ^ (uint64_t)round;
      g.state = next_random(&g) + i;
      next_random(&g);
      begin_case(tests[i].name, seed, round);
      tests[i].run(&g);
      CHECK(count_descriptors() == descriptors, "a file stays open");
    }
  }
  blosc2_destroy();
  print_counts();
  return 0;
}
