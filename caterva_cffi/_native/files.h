/* Bytes of files, read at positions. */
#ifndef CATERVA_CFFI_FILES_H
#define CATERVA_CFFI_FILES_H

#include <stdint.h>

/* Open a file to read it; a path is UTF-8 on Windows, and the system's bytes elsewhere. Returns a
 * descriptor, or the system's error as a negative number. */
int cat_open_file(const char *path);
void cat_close_file(int descriptor);

/* How many bytes a file has, or the system's error as a negative number. */
int64_t cat_measure_file(int descriptor);

/* Read `size` bytes from a position on. Returns how many there are: fewer only where the file ends. Or
 * returns the system's error as a negative number. */
int64_t cat_read_file(int descriptor, int64_t at, uint8_t *dest, int64_t size);

/* Read of the same bytes those that the system has in memory, without waiting for a disk. Returns how
 * many first ones these are; none where it does not say, or cannot read. */
int64_t cat_read_cached(int descriptor, int64_t at, uint8_t *dest, int64_t size);

/* Tell the system that these bytes will be read, in any order. */
void cat_expect_bytes(int descriptor, int64_t at, int64_t size);

/* Tell the system not to guess which bytes of a file will be read. */
void cat_expect_no_more(int descriptor);

#endif
