/// libFuzzer's entry: hands each input on as bytes and as a file.

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/// Defined in FuzzEntries.
void espalier_fuzz(const char *format, const char *path, const uint8_t *bytes, size_t count);

/// The file lies in memory and is the same one each time.
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  static int file = -1;
  static char path[64];
  static const char *format;
  if (file < 0) {
    format = getenv("FUZZ_FORMAT");
    file = memfd_create("input", 0);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), file);
    if (file < 0 || !format) {
      fprintf(stderr, "fuzz: expected the format's name in FUZZ_FORMAT, and a file in memory\n");
      exit(1);
    }
  }
  if (ftruncate(file, 0) || pwrite(file, bytes, count, 0) != (ssize_t)count) abort();
  espalier_fuzz(format, path, bytes, count);
  return 0;
}
