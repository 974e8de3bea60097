#define _DEFAULT_SOURCE /* pread, syscall */
#define _FILE_OFFSET_BITS 64

#include "files.h"

#include <errno.h>
#include <fcntl.h>

enum { MOST = 1 << 30 }; /* bytes of one read */

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <io.h>
#include <wchar.h>

int cat_open_file(const char *path) {
  wchar_t wide[32768];
  if (!MultiByteToWideChar(CP_UTF8, 0, path, -1, wide, 32768)) {
    return -ENOENT;
  }
  int descriptor = _wopen(wide, _O_RDONLY | _O_BINARY | _O_NOINHERIT);
  return descriptor < 0 ? -errno : descriptor;
}

void cat_close_file(int descriptor) { _close(descriptor); }

int64_t cat_measure_file(int descriptor) {
  int64_t size = _filelengthi64(descriptor);
  return size < 0 ? -errno : size;
}

static int64_t read_some(int descriptor, int64_t at, uint8_t *dest, int64_t size) {
  OVERLAPPED where = {0};
  where.Offset = (DWORD)at;
  where.OffsetHigh = (DWORD)(at >> 32);
  DWORD count = 0;
  HANDLE file = (HANDLE)_get_osfhandle(descriptor);
  if (ReadFile(file, dest, (DWORD)size, &count, &where)) {
    return count;
  }
  return GetLastError() == ERROR_HANDLE_EOF ? 0 : -EIO;
}
#else
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <sys/uio.h>
#define NOWAIT 8L /* RWF_NOWAIT, which older headers do not have */
#endif

int cat_open_file(const char *path) {
  int descriptor;
  do { /* a pipe in the file's place is not waited for */
    descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor < 0 ? -errno : descriptor;
}

void cat_close_file(int descriptor) { close(descriptor); }

int64_t cat_measure_file(int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status)) {
    return -errno;
  }
  return S_ISREG(status.st_mode) ? status.st_size : -EINVAL;
}

static int64_t read_some(int descriptor, int64_t at, uint8_t *dest, int64_t size) {
  ssize_t count;
  do {
    count = pread(descriptor, dest, (size_t)size, (off_t)at);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : count;
}
#endif

int64_t cat_read_file(int descriptor, int64_t at, uint8_t *dest, int64_t size) {
  int64_t done = 0;
  while (done < size) {
    int64_t left = size - done;
    int64_t count = read_some(descriptor, at + done, dest + done, left < MOST ? left : MOST);
    if (count <= 0) {
      return count < 0 ? count : done;
    }
    done += count;
  }
  return done;
}

int64_t cat_read_cached(int descriptor, int64_t at, uint8_t *dest, int64_t size) {
#ifdef CAT_SMALL_READS
  size = at % 3 == 0 ? size : at % 3 == 1 ? size / 2 : 0; /* tests wait for some bytes */
#endif
#if defined(SYS_preadv2) && defined(POSIX_FADV_WILLNEED)
  struct iovec to = {dest, (size_t)(size < MOST ? size : MOST)};
  long count = syscall(SYS_preadv2, descriptor, &to, 1L, (long)at, (long)(at >> 31 >> 1), NOWAIT);
  return count < 0 ? 0 : count;
#else
  int64_t count = cat_read_file(descriptor, at, dest, size);
  return count < 0 ? 0 : count;
#endif
}

void cat_expect_no_more(int descriptor) {
#ifdef POSIX_FADV_RANDOM
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM);
#else
  (void)descriptor;
#endif
}

void cat_expect_bytes(int descriptor, int64_t at, int64_t size) {
#ifdef POSIX_FADV_WILLNEED
  posix_fadvise(descriptor, at, size, POSIX_FADV_WILLNEED);
#else
  (void)descriptor, (void)at, (void)size;
#endif
}
