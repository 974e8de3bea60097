/* What the libraries below say about themselves. */
#ifndef CATERVA_CFFI_LIBRARIES_H
#define CATERVA_CFFI_LIBRARIES_H

#include <lz4.h>
#include <zstd.h>

extern const char *const zfp_version_string; /* of zfp.h */

/* The SIMD instructions of C-Blosc2's shuffle filters on this processor: "avx2", "neon", "generic"... */
const char *caterva_cffi_shuffle_name(void);

#endif
