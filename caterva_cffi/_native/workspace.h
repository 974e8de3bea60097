/* Memory that a thread works in, kept from one call to the next: to allocate it, and to make a context
 * of Zstandard, would cost more than a small read.
 *
 * What is kept is bounded, belongs to nobody, and is taken and given back by one atomic exchange. A
 * fork that happens meanwhile costs the child what was taken, and nothing else. */
#ifndef CATERVA_CFFI_WORKSPACE_H
#define CATERVA_CFFI_WORKSPACE_H

#include <stdint.h>

typedef struct {
  uint8_t *memory;
  int64_t size; /* bytes */
  uint8_t *stored; /* what was read of a file */
  int64_t stored_size;
  void *zstd; /* a ZSTD_DCtx, or NULL */
} workspace;

/* Take one that was kept, or a new one; NULL without memory. */
workspace *cat_take_workspace(void);

/* Keep one for another call, or free it; NULL is fine. */
void cat_give_workspace(workspace *given);

/* Memory of at least `size` bytes, in which anything may be; NULL where there is none. What was
 * reserved before is gone. */
uint8_t *cat_reserve(workspace *own, int64_t size);

/* The same for what is read of a file, beside that. */
uint8_t *cat_reserve_stored(workspace *own, int64_t size);

#endif
