/* Chunks in files: decoded to what they are in memory, or refused; and no file stays open. */
#include "tests.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- files -------------------------------------------------------------------------------------- */

int count_descriptors(void) {
  DIR *listed = opendir("/dev/fd");
  CHECK(listed != NULL, "error %d", errno);
  int n = 0;
  for (struct dirent *entry; (entry = readdir(listed)) != NULL;) {
    struct stat status;
    int found = entry->d_name[0] != '.' && fstat(atoi(entry->d_name), &status) == 0;
    n += found && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
  }
  closedir(listed);
  return n;
}

test_file new_file(void) {
  test_file file;
  const char *directory = getenv("TMPDIR");
  snprintf(file.path, sizeof file.path, "%s/test_kernel.XXXXXX", directory ? directory : "/tmp");
  file.descriptor = mkstemp(file.path);
  CHECK(file.descriptor >= 0, "error %d", errno);
  return file;
}

void write_file(const test_file *file, int64_t at, const uint8_t *content, int64_t size) {
  CHECK(pwrite(file->descriptor, content, (size_t)size, at) == size, "error %d", errno);
}

void cut_file(const test_file *file, int64_t size) {
  CHECK(ftruncate(file->descriptor, size) == 0, "error %d", errno);
}

void remove_file(const test_file *file) {
  close(file->descriptor);
  unlink(file->path);
}

/* Let the system forget a file's pages, so that reads wait for a disk. */
static void drop_pages(const test_file *file) {
#ifdef POSIX_FADV_DONTNEED
  fdatasync(file->descriptor);
  posix_fadvise(file->descriptor, 0, 0, POSIX_FADV_DONTNEED);
#else
  (void)file;
#endif
}

cat_place place_chunk(generator *g, const test_file *file, int64_t start, const bytes *chunk) {
  uint8_t noise[64];
  int64_t behind = between(g, 0, sizeof noise), stop = start + chunk->size;
  for (size_t i = 0; i < sizeof noise; i++) {
    noise[i] = (uint8_t)next_random(g);
  }
  write_file(file, start, chunk->data, chunk->size);
  write_file(file, stop, noise, behind);
  if (one_in(g, 16)) {
    drop_pages(file);
  }
  if (one_in(g, 2)) {
    return (cat_place){NULL, file->descriptor, start, stop, between(g, 0, 40)};
  }
  return (cat_place){file->path, -1, start, one_in(g, 4) ? INT64_MAX : stop, between(g, 0, 40)};
}

void check_decoding_from_file(generator *g, const sample *s, const bytes *chunk, const cat_box *box,
                              const uint8_t *items, int nthreads) {
  test_file file = new_file();
  cat_place place = place_chunk(g, &file, between(g, 0, 5000), chunk);
  cat_part source = {.place = &place};
  check_part(g, s, &source, box, items, nthreads);
  remove_file(&file);
  count_event(chunk->size > 1 << 15 ? DECODED_FROM_LARGE_FILE : DECODED_FROM_FILE);
}

/* --- errors ------------------------------------------------------------------------------------- */

static int decode_place(const cat_grid *grid, const cat_place *place, cat_where *where) {
  memory to = dense_memory(grid->ndim, grid->itemsize, grid->chunk);
  cat_box box = whole_box(grid->ndim, grid->chunk);
  cat_part part = part_of(NULL, 0, &box, allocate(to.span), &to);
  part.place = place;
  int before = count_descriptors(), error = cat_decode(grid, &part, 1, 1, where);
  CHECK(count_descriptors() == before, "a file stays open");
  CHECK(error == 0 || where->chunk == 0, "part %lld", (long long)where->chunk);
  free(part.dest);
  return error;
}

static void refuse(const cat_grid *grid, cat_place place, int expected, int system) {
  cat_where where;
  int error = decode_place(grid, &place, &where);
  CHECK(error == expected && where.system == system, "%d, %d instead of %d, %d; %lld to %lld", error,
        where.system, expected, system, (long long)place.start, (long long)place.stop);
  count_event(FILE_REFUSED);
}

/* Of a file, or of what of it may be read, the last bytes are missing. */
static void check_cut_files(generator *g, const cat_grid *grid, const bytes *chunk) {
  test_file file = new_file();
  int64_t start = between(g, 0, 100), stop = start + chunk->size;
  cat_place named = {file.path, -1, start, stop}, open = {NULL, file.descriptor, start, stop};
  write_file(&file, start, chunk->data, chunk->size);
  for (int64_t size = 0; size < chunk->size; size++) {
    cat_place shorter = one_in(g, 2) ? named : open;
    shorter.stop = start + size;
    refuse(grid, shorter, CAT_ERROR_TRUNCATED, 0);
  }
  for (int64_t size = stop - 1; size >= 0; size -= size > start ? 1 : start / 3 + 1) {
    cut_file(&file, size);
    refuse(grid, named, CAT_ERROR_END, 0);
    refuse(grid, open, CAT_ERROR_END, 0);
  }
  remove_file(&file);
}

/* A header says that there are more bytes than there are. */
static void check_long_chunk(generator *g, const cat_grid *grid, const bytes *chunk) {
  static const int32_t more[] = {1, 40, 1 << 20, INT32_MAX};
  test_file file = new_file();
  uint8_t *longer = copy_bytes(chunk->data, chunk->size);
  int32_t size = more[between(g, 0, 3)];
  size = size == INT32_MAX ? size : (int32_t)chunk->size + size;
  memcpy(longer + BLOSC2_CHUNK_CBYTES, &size, sizeof size);
  write_file(&file, 0, longer, chunk->size);
  cat_where where;
  for (int i = 0; i < 4; i++) {
    cat_place place = {i % 2 ? file.path : NULL, file.descriptor, 0, i / 2 ? INT64_MAX : chunk->size};
    int error = decode_place(grid, &place, &where);
    int plain = is_plain(chunk->data) && !is_special(chunk->data) && i != 2;
    CHECK(error == (plain ? CAT_ERROR_GEOMETRY : i / 2 ? CAT_ERROR_END : CAT_ERROR_TRUNCATED), "%d",
          error);
  }
  free(longer);
  remove_file(&file);
}

/* What is no file, or cannot be read. */
static void check_no_files(const cat_grid *grid) {
  char directory[sizeof((test_file *)0)->path], pipe_path[sizeof directory + 8];
  snprintf(directory, sizeof directory, "%s/test_kernel.XXXXXX",
           getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
  CHECK(mkdtemp(directory) != NULL, "error %d", errno);
  snprintf(pipe_path, sizeof pipe_path, "%s/pipe", directory);
  refuse(grid, (cat_place){pipe_path, -1, 0, 1000}, CAT_ERROR_FILE, ENOENT);
  CHECK(mkfifo(pipe_path, 0600) == 0, "error %d", errno);
  refuse(grid, (cat_place){pipe_path, -1, 0, 1000}, CAT_ERROR_FILE, EINVAL);
  refuse(grid, (cat_place){directory, -1, 0, 1000}, CAT_ERROR_FILE, EINVAL);
  refuse(grid, (cat_place){NULL, -1, 0, 1000}, CAT_ERROR_FILE, EBADF);
  int ends[2], folder = open(directory, O_RDONLY);
  CHECK(pipe(ends) == 0 && folder >= 0, "error %d", errno);
  refuse(grid, (cat_place){NULL, ends[0], 0, 1000}, CAT_ERROR_FILE, ESPIPE);
  refuse(grid, (cat_place){NULL, folder, 0, 1000}, CAT_ERROR_FILE, EISDIR);
  close(ends[0]);
  close(ends[1]);
  close(folder);
  unlink(pipe_path);
  rmdir(directory);
}

/* Positions that no file has. */
static void check_positions(const cat_grid *grid, const bytes *chunk) {
  static const int64_t starts[] = {INT64_MIN, -1, 1 << 20, (int64_t)1 << 40, INT64_MAX - 40, INT64_MAX};
  static const int64_t stops[] = {INT64_MIN, -1, 0, 31, INT64_MAX};
  test_file file = new_file();
  write_file(&file, 0, chunk->data, chunk->size);
  for (int i = 0; i < 2 * 6 * 5; i++) {
    cat_place place = {i % 2 ? file.path : NULL, file.descriptor, starts[i / 2 % 6], stops[i / 12]};
    cat_where where;
    int error = decode_place(grid, &place, &where);
    CHECK(error == CAT_ERROR_END || error == CAT_ERROR_TRUNCATED || error == CAT_ERROR_FILE,
          "error %d from %lld to %lld", error, (long long)place.start, (long long)place.stop);
  }
  remove_file(&file);
}

/* The last blocks of the longest chunk that there may be; most of its file is a hole. */
static void check_longest_chunk(generator *g) {
  enum { BLOCK = 4096, HEAD = BLOSC_EXTENDED_HEADER_LENGTH };
  const int32_t nbytes = BLOSC2_MAX_BUFFERSIZE / BLOCK * BLOCK;
  const int32_t sizes[] = {nbytes, BLOCK, nbytes + HEAD};
  cat_grid grid = {.ndim = 1, .itemsize = 1, .shape = {nbytes}, .chunk = {nbytes}, .block = {BLOCK}};
  uint8_t head[HEAD] = {BLOSC2_VERSION_FORMAT_STABLE, 1,
                        BLOSC_DOSHUFFLE | BLOSC_DOBITSHUFFLE | BLOSC_MEMCPYED, 1};
  uint8_t last[3 * BLOCK], found[3 * BLOCK];
  memcpy(head + BLOSC2_CHUNK_NBYTES, sizes, sizeof sizes);
  for (size_t i = 0; i < sizeof last; i++) {
    last[i] = (uint8_t)next_random(g);
  }
  test_file file = new_file();
  write_file(&file, 7, head, HEAD);
  write_file(&file, 7 + (int64_t)sizes[2] - (int64_t)sizeof last, last, sizeof last);
  cat_place place = {file.path, -1, 7, INT64_MAX};
  cat_part part = {.place = &place, .dest = found, .strides = {1},
                   .box = {{nbytes - (int64_t)sizeof last}, {sizeof last}, {1}}};
  cat_where where;
  int error = cat_decode(&grid, &part, 1, 1, &where);
  CHECK(error == 0 && memcmp(found, last, sizeof last) == 0, "error %d", error);
  remove_file(&file);
}

void test_files(generator *g) {
  sample s = random_sample(g, between(g, 16, 256));
  memory from = dense_memory(s.grid.ndim, s.grid.itemsize, s.grid.chunk);
  uint8_t *src = allocate(from.span);
  fill_random(g, src, from.span, s.grid.itemsize);
  bytes chunk = encode(&s, src, &from, 1);
  free(src);
  if (chunk.size > 0 && chunk.size < 1000) {
    check_cut_files(g, &s.grid, &chunk);
    check_long_chunk(g, &s.grid, &chunk);
    check_positions(&s.grid, &chunk);
  }
  check_no_files(&s.grid);
  if (one_in(g, 20)) {
    check_longest_chunk(g);
  }
  free(chunk.data);
}
