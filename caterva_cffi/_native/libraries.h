/* What the libraries below say about themselves. */
#ifndef CATERVA_CFFI_LIBRARIES_H
#define CATERVA_CFFI_LIBRARIES_H

#include <stddef.h>

#include <lz4.h>
#include <zstd.h>

#if LZ4_VERSION_NUMBER < 10904 || ZSTD_VERSION_NUMBER < 10504
#error "LZ4 1.9.4 and Zstandard 1.5.4 are the oldest that this was tested with"
#endif

/* Only the vendored C-Blosc2 tells its shuffle and its zfp; with the system's, these return NULL. */
#ifdef CATERVA_CFFI_SYSTEM_BLOSC2
#define CAT_VENDORED 0

static inline const char *cat_zfp_version(void) { return NULL; }

static inline const char *cat_shuffle_name(void) { return NULL; }
#else
#define CAT_VENDORED 1

extern const char *const zfp_version_string; /* of zfp.h */

static inline const char *cat_zfp_version(void) { return zfp_version_string; }

/* The SIMD instructions of the shuffle filters on this processor: "avx2", "neon", "generic"...
 * In c-blosc2/shuffle.c. */
const char *cat_shuffle_name(void);
#endif

#endif
