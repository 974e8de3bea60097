#include "chunk.h"

#include <stdlib.h>
#include <string.h>

#include <b2nd.h>
#include <blosc2/codecs-registry.h>
#include <blosc2/filters-registry.h>

int cat_codec_is_known(int codec, int ndim, int32_t itemsize) {
  switch (codec) {
    case BLOSC_BLOSCLZ: case BLOSC_LZ4: case BLOSC_LZ4HC: case BLOSC_ZLIB: case BLOSC_ZSTD:
    case BLOSC_CODEC_NDLZ:
      return 1;
    case BLOSC_CODEC_ZFP_FIXED_ACCURACY: case BLOSC_CODEC_ZFP_FIXED_PRECISION:
    case BLOSC_CODEC_ZFP_FIXED_RATE:
      return ndim <= 4 && (itemsize == 4 || itemsize == 8);
    default:
      return codec >= BLOSC2_USER_REGISTERED_CODECS_START;
  }
}

int cat_filters_are_known(const uint8_t *filters) {
  for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
    int filter = filters[i];
    if ((filter >= BLOSC_LAST_FILTER && filter < BLOSC2_GLOBAL_REGISTERED_FILTERS_START) ||
        (filter > BLOSC_LAST_REGISTERED_FILTER && filter < BLOSC2_USER_REGISTERED_FILTERS_START)) {
      return 0;
    }
  }
  return 1;
}

int cat_filters_fill(const uint8_t *filters, const uint8_t *metas, int32_t itemsize, int32_t blocksize,
                     int32_t nbytes) {
  for (int i = 0; i < BLOSC2_MAX_FILTERS; i++) {
    if (filters[i] == BLOSC_FILTER_BYTEDELTA_BUGGY) {
      /* Bytes behind the last whole item it does not write: they would be whatever is in memory. */
      int32_t size = metas[i] ? metas[i] : itemsize;
      if (blocksize % size || nbytes % size) {
        return 0;
      }
    }
  }
  return 1;
}

int cat_has_filter(const uint8_t *filters, int filter) {
  return memchr(filters, filter, BLOSC2_MAX_FILTERS) != NULL;
}

plugin_context *cat_new_plugin_context(const cat_grid *grid) {
  plugin_context *plugin = calloc(1, sizeof *plugin);
  if (plugin == NULL) {
    return NULL;
  }
  int64_t shape[CAT_MAX_DIM];
  int32_t chunk[CAT_MAX_DIM], block[CAT_MAX_DIM];
  for (int d = 0; d < grid->ndim; d++) {
    shape[d] = chunk[d] = (int32_t)grid->chunk[d];
    block[d] = (int32_t)grid->block[d];
    plugin->blockshape[d] = grid->block[d];
  }
  uint8_t *content = NULL;
  int size = b2nd_serialize_meta((int8_t)grid->ndim, shape, chunk, block, "", 0, &content);
  if (size < 0) {
    free(plugin);
    return NULL;
  }
  memcpy(plugin->name, "b2nd", sizeof plugin->name);
  plugin->metalayer =
      (blosc2_metalayer){.name = plugin->name, .content = content, .content_len = size};
  plugin->schunk.typesize = grid->itemsize;
  plugin->schunk.ndim = (int8_t)grid->ndim;
  plugin->schunk.blockshape = plugin->blockshape;
  plugin->schunk.metalayers[0] = &plugin->metalayer;
  plugin->schunk.nmetalayers = 1;
  return plugin;
}

void cat_free_plugin_context(plugin_context *plugin) {
  if (plugin != NULL) {
    free(plugin->metalayer.content);
    free(plugin);
  }
}
