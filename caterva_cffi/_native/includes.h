/* What the generated extension module sees: the vendored headers, and ours. */
#include <caterva_on_blosc2.h> /* includes blosc2.h, b2nd.h and caterva.h */
#include "kernel.h"
#include "libraries.h"
