"""Let python-caterva's own tests, which import `caterva`, use this package."""

import sys

import caterva_cffi

sys.modules[__name__] = caterva_cffi
