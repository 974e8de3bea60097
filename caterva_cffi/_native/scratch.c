#include <stdlib.h>

#include "decode.h"
#include "files.h"

/* Whether a codec or filter of a chunk may be a plugin, which asks the context about the array. */
static int uses_plugins(const uint8_t *header) {
  if (header[BLOSC2_CHUNK_FLAGS] >> 5 == BLOSC_UDCODEC_FORMAT) {
    return 1;
  }
  for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
    if (header[BLOSC2_CHUNK_FILTER_CODES + i] >= BLOSC_LAST_FILTER) {
      return 1;
    }
  }
  return 0;
}

static void free_context(scratch *own) {
  if (own->context != NULL) {
    blosc2_free_ctx(own->context);
  }
  cat_free_plugin_context(own->plugin);
  own->context = NULL;
  own->plugin = NULL;
}

/* Have a context of C-Blosc2. It serves all chunks of the grid, one after the other. */
static int prepare_context(const decoder *dec, scratch *own) {
  int plugins = uses_plugins(dec->chunk->head.header);
  if (own->context != NULL && (own->plugin != NULL || !plugins)) {
    return 0;
  }
  free_context(own);
  blosc2_dparams dparams = BLOSC2_DPARAMS_DEFAULTS;
  dparams.nthreads = 1;
  if (plugins) {
    if ((own->plugin = cat_new_plugin_context(dec->grid)) == NULL) {
      return CAT_ERROR_MEMORY;
    }
    dparams.schunk = &own->plugin->schunk;
  }
  own->context = blosc2_create_dctx(dparams);
  return own->context == NULL ? CAT_ERROR_MEMORY : 0;
}

int cat_reserve_block(const decoder *dec, scratch *own, int64_t behind) {
  own->block = cat_reserve(own->space, dec->g->blocksize + behind);
  own->other = own->block == NULL ? NULL : own->block + dec->g->blocksize;
  return own->block == NULL ? CAT_ERROR_MEMORY : 0;
}

int cat_prepare_scratch(const decoder *dec, scratch *own) {
  if (own->space == NULL && (own->space = cat_take_workspace()) == NULL) {
    return CAT_ERROR_MEMORY;
  }
  return dec->chunk->simple ? cat_reserve_block(dec, own, dec->g->blocksize)
                     : prepare_context(dec, own);
}

void cat_forget_chunk(scratch *own) {
  cat_free_offsets(&own->chunk.head.offsets);
  free(own->chunk.whole);
  free(own->chunk.read);
  if (own->chunk.place.path != NULL) {
    cat_close_file(own->chunk.descriptor);
  }
  own->chunk = (known_chunk){0};
  own->mini = 0; /* it begins as the chunk did */
  own->run_start = own->run_stop = 0;
}

void cat_free_scratch(void *given) {
  scratch *own = given;
  cat_forget_chunk(own);
  free_context(own);
  cat_give_workspace(own->space);
}
