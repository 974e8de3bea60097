#include "workspace.h"

#include <stdlib.h>

#include <zstd.h>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
typedef void *volatile slot;
#define EXCHANGE(s, value) InterlockedExchangePointer((s), (value))
#else
#include <stdatomic.h>
typedef _Atomic(void *) slot;
#define EXCHANGE(s, value) atomic_exchange((s), (value))
#endif

#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif

/* AddressSanitizer is to see where the memory of each call ends. */
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
enum { KEPT_BYTES = 0 };
#else
enum { KEPT_BYTES = 1 << 20 }; /* two blocks of a cache's size */
#endif

enum { SLOTS = 4 };

static slot kept[SLOTS];

static void free_workspace(workspace *own) {
  ZSTD_freeDCtx(own->zstd);
  free(own->memory);
  free(own->stored);
  free(own);
}

workspace *cat_take_workspace(void) {
  for (int i = 0; i < SLOTS; i++) {
    workspace *own = EXCHANGE(&kept[i], NULL);
    if (own != NULL) {
      return own;
    }
  }
  return calloc(1, sizeof(workspace));
}

void cat_give_workspace(workspace *given) {
  if (given == NULL) {
    return;
  }
  if (given->size <= KEPT_BYTES && given->stored_size <= KEPT_BYTES) {
    for (int i = 0; i < SLOTS; i++) {
      if ((given = EXCHANGE(&kept[i], given)) == NULL) {
        return;
      }
    }
  }
  free_workspace(given);
}

static uint8_t *grow(uint8_t **memory, int64_t *size, int64_t wanted) {
  if (*memory == NULL || wanted > *size) {
    free(*memory);
    *memory = malloc((size_t)wanted);
    *size = *memory == NULL ? 0 : wanted;
  }
  return *memory;
}

uint8_t *cat_reserve(workspace *own, int64_t size) {
  return grow(&own->memory, &own->size, size);
}

uint8_t *cat_reserve_stored(workspace *own, int64_t size) {
  return grow(&own->stored, &own->stored_size, size);
}
