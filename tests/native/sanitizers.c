/* What sanitizers report of C-Blosc2 and is of no concern here. They find these by name. */

const char *__lsan_default_options(void);
const char *__lsan_default_suppressions(void);
const char *__tsan_default_options(void);
const char *__tsan_default_suppressions(void);
const char *__ubsan_default_options(void);

const char *__ubsan_default_options(void) { return "print_stacktrace=1"; }

const char *__lsan_default_options(void) { return "print_suppressions=0"; }

/* What C-Blosc2 forgets where it finds a frame damaged while it changes it. */
#ifdef FUZZING
#define CHANGES \
  "leak:blosc2_schunk_append_chunk\nleak:blosc2_schunk_insert_chunk\n" \
  "leak:blosc2_schunk_update_chunk\nleak:blosc2_schunk_delete_chunk\nleak:blosc2_vlmeta_add\n"
#else
#define CHANGES ""
#endif

/* The zfp plugin forgets its shapes where it refuses an item size. */
const char *__lsan_default_suppressions(void) {
  return "leak:zfp_acc_compress\nleak:zfp_prec_compress\nleak:zfp_rate_compress\n" CHANGES;
}

const char *__tsan_default_options(void) { return "print_suppressions=0"; }

/* Reading notes the chunk's number in the super-chunk, and nobody reads it there. Training a
 * dictionary says how much is to be printed, always the same. */
const char *__tsan_default_suppressions(void) {
  return "race_top:blosc2_schunk_get_chunk\nrace:g_displayLevel\n";
}
