/* Boxes of one chunk, decoded. */
#ifndef CATERVA_CFFI_DECODE_H
#define CATERVA_CFFI_DECODE_H

#include "geometry.h"

enum { SLAB_BYTES = 512 * 1024 }; /* decoded by a task; to start a thread costs as much as 50 KiB */

/* Decode a box of a chunk. `g` is the partition of `grid`; `where->block` is written with an error. */
int cat_decode_part(const cat_grid *grid, const geometry *g, const cat_part *part,
                    int nthreads, cat_where *where);

#endif
