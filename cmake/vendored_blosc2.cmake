# C-Blosc2 with LZ4, Zstandard, zlib-ng and zfp, compiled from vendor/src.
# Sets what to link: `blosc2`, and the `codecs` that the block kernel calls itself, with `codec_includes`.

# C-Blosc2 reads these from the cache only, and would turn to the network without them.
foreach(part LZ4 ZSTD ZLIBNG ZFP)
  string(TOLOWER ${part} directory)
  string(REPLACE zlibng zlib-ng directory ${directory})
  set(BLOSC_${part}_SOURCE_DIR ${sources}/${directory} CACHE PATH "" FORCE)
endforeach()
foreach(option BUILD_TESTS BUILD_FUZZERS BUILD_BENCHMARKS BUILD_EXAMPLES BUILD_SHARED BLOSC_INSTALL)
  set(${option} OFF CACHE BOOL "" FORCE)
endforeach()
set(BLOSC_IS_SUBPROJECT TRUE)
# Zstandard's tracing hooks are weak symbols that any other library in the process could define.
add_compile_definitions(ZSTD_TRACE=0)
add_subdirectory(${sources}/c-blosc2 ${PROJECT_BINARY_DIR}/c-blosc2 EXCLUDE_FROM_ALL)
target_compile_definitions(blosc2_static PRIVATE getenv=cat_getenv)
target_sources(blosc2_static PRIVATE ${native}/environment.c ${native}/plugins.c)
if(NOT WIN32)
  target_compile_definitions(blosc2_static PRIVATE
    dlopen=cat_dlopen popen=cat_popen)
endif()
# Ours includes theirs, and is compiled as theirs would be.
set(blosc ${sources}/c-blosc2/blosc)
get_target_property(blosc2_sources blosc2_static SOURCES)
list(FILTER blosc2_sources EXCLUDE REGEX "/shuffle\\.c$")
set_target_properties(blosc2_static PROPERTIES SOURCES "${blosc2_sources};${native}/c-blosc2/shuffle.c")
foreach(property COMPILE_DEFINITIONS COMPILE_OPTIONS)
  get_source_file_property(value ${blosc}/shuffle.c DIRECTORY ${blosc} ${property})
  if(value)
    set_property(SOURCE ${native}/c-blosc2/shuffle.c TARGET_DIRECTORY blosc2_static
      PROPERTY ${property} ${value})
  endif()
endforeach()

set(blosc2 blosc2_static)
set(codecs) # are in the same library
set(codec_includes ${sources}/lz4/lib ${sources}/zstd/lib)
