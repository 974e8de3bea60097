/* For Python, which cannot make Valgrind's requests: count instructions from here to there. */
#include <valgrind/callgrind.h>

void start_counting(void);
void stop_counting(const char *name);

void start_counting(void) { CALLGRIND_START_INSTRUMENTATION; }

void stop_counting(const char *name) {
  CALLGRIND_STOP_INSTRUMENTATION;
  CALLGRIND_DUMP_STATS_AT(name);
}
