#define _POSIX_C_SOURCE 200809L /* pread */
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

void cat_expect_bytes(int descriptor, int64_t at, int64_t size) {
#ifdef POSIX_FADV_WILLNEED
  posix_fadvise(descriptor, at, size, POSIX_FADV_WILLNEED);
#else
  (void)descriptor, (void)at, (void)size;
#endif
}
