/* What sanitizers report of C-Blosc2 and is of no concern here. They find these by name. */

const char *__lsan_default_options(void);
const char *__lsan_default_suppressions(void);
const char *__tsan_default_options(void);
const char *__tsan_default_suppressions(void);
const char *__ubsan_default_options(void);

const char *__ubsan_default_options(void) { return "print_stacktrace=1"; }

const char *__lsan_default_options(void) { return "print_suppressions=0"; }

/* The zfp plugin forgets its shapes where it refuses an item size; a frame forgets its new header
 * or trailer where it finds itself damaged while it changes. */
const char *__lsan_default_suppressions(void) {
  return "leak:zfp_acc_compress\nleak:zfp_prec_compress\nleak:zfp_rate_compress\n"
         "leak:frame_update_header\nleak:frame_update_trailer\n";
}

const char *__tsan_default_options(void) { return "print_suppressions=0"; }

/* Reading notes the chunk's number in the super-chunk, and nobody reads it there. Training a
 * dictionary says how much is to be printed, always the same. */
const char *__tsan_default_suppressions(void) {
  return "race_top:blosc2_schunk_get_chunk\nrace:g_displayLevel\n";
}
