# The system's C-Blosc2, LZ4, Zstandard and zlib, for those who package this for a distribution.
# Sets what to link: `blosc2`, and the `codecs` that the block kernel calls itself, with `codec_includes`.

# Declarations are compared with the headers: an older one lacks some.
set(minimum 3.3.2)
find_package(Blosc2 ${minimum} CONFIG)
if(NOT Blosc2_FOUND)
  list(TRANSFORM Blosc2_CONSIDERED_VERSIONS REPLACE "^$" "unknown")
  list(JOIN Blosc2_CONSIDERED_VERSIONS ", " found)
  if(NOT found)
    set(found none)
  endif()
  message(FATAL_ERROR
    "CATERVA_CFFI_SYSTEM_BLOSC2 needs C-Blosc2 ${minimum} or a later 3.x; versions found: ${found} "
    "(${Blosc2_CONSIDERED_CONFIGS}). Name another one with CMAKE_PREFIX_PATH or Blosc2_DIR, where "
    "Blosc2Config.cmake is, or leave the option out: the vendored one is compiled then.")
endif()
message(STATUS "C-Blosc2 ${Blosc2_VERSION}: ${Blosc2_DIR}")
set(blosc2 Blosc2::blosc2_shared)

# zlib, for checksums.
find_package(ZLIB 1.2.9)
if(NOT ZLIB_FOUND)
  message(FATAL_ERROR
    "CATERVA_CFFI_SYSTEM_BLOSC2 needs zlib 1.2.9 or later too. Install zlib1g-dev, or name with "
    "CMAKE_PREFIX_PATH where it is.")
endif()
set(codecs ZLIB::ZLIB)
set(codec_includes)

# Not all distributions have CMake's configuration of these two.
foreach(codec lz4 zstd)
  find_path(CATERVA_CFFI_${codec}_INCLUDE_DIR ${codec}.h)
  find_library(CATERVA_CFFI_${codec}_LIBRARY NAMES ${codec} lib${codec})
  if(NOT CATERVA_CFFI_${codec}_INCLUDE_DIR OR NOT CATERVA_CFFI_${codec}_LIBRARY)
    message(FATAL_ERROR
      "CATERVA_CFFI_SYSTEM_BLOSC2 needs ${codec}.h and lib${codec} too. Install lib${codec}-dev, or "
      "name with CMAKE_PREFIX_PATH where they are.")
  endif()
  list(APPEND codecs ${CATERVA_CFFI_${codec}_LIBRARY})
  list(APPEND codec_includes ${CATERVA_CFFI_${codec}_INCLUDE_DIR})
endforeach()
add_compile_definitions(CATERVA_CFFI_SYSTEM_BLOSC2)
