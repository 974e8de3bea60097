/*
 * Caterva 0.5.1 on C-Blosc2 3: include this file, or compile with it included first, and the
 * unmodified caterva.h, b2nd.h and blosc2.h can all be used together.
 *
 * It includes all three itself, because what follows must be in force around caterva.h only.
 */
#ifndef CATERVA_ON_BLOSC2_H
#define CATERVA_ON_BLOSC2_H

/* blosc2.h and caterva.h both define print_error; blosc2.h's is only blosc2_error_string. */
#define print_error blosc2_print_error
#include <blosc2.h>
#undef print_error

#include <b2nd.h>

/* The ids of the plugins, which blosc2.h does not include. */
#include <blosc2/codecs-registry.h>
#include <blosc2/filters-registry.h>
#include <blosc2/tuners-registry.h>

/* C-Blosc2 has renamed the tuner's parameters since, and made them untyped. */
#define blosc2_btune void
#define udbtune tuner_params

/* b2nd.c grew out of caterva.c and defines these functions too: linked statically, they clash. */
#define copy2dim caterva_copy2dim
#define copy3dim caterva_copy3dim
#define copy4dim caterva_copy4dim
#define copy5dim caterva_copy5dim
#define copy6dim caterva_copy6dim
#define copy7dim caterva_copy7dim
#define copy8dim caterva_copy8dim
#define copy_ndim_fallback caterva_copy_ndim_fallback
#define extend_shape caterva_extend_shape
#define shrink_shape caterva_shrink_shape

/* caterva.h repeats b2nd.h's struct, which C before C23 refuses even if nothing differs. */
#define chunk_cache_s caterva_chunk_cache_s
#include <caterva.h>
#undef chunk_cache_s

/* caterva_utils.h, but for its include of an old C-Blosc2's source, which is not vendored. */
#define CATERVA_CATERVA_UTILS_H_
int caterva_copy_buffer(int8_t ndim, uint8_t itemsize, void *src, const int64_t *src_pad_shape,
                        int64_t *src_start, const int64_t *src_stop, void *dst,
                        const int64_t *dst_pad_shape, int64_t *dst_start);
int create_blosc_params(caterva_ctx_t *ctx, caterva_params_t *params, caterva_storage_t *storage,
                        blosc2_cparams *cparams, blosc2_dparams *dparams,
                        blosc2_storage *b_storage);
int caterva_config_from_schunk(caterva_ctx_t *ctx, blosc2_schunk *sc, caterva_config_t *cfg);

#endif /* CATERVA_ON_BLOSC2_H */
