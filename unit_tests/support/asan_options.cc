/** What AddressSanitizer is told in every test program; ASAN_OPTIONS has the last word. */

/** Of the memory that was freed it keeps 16 MiB from being had again, not 256: a child that a test
 * forks, as there are thousands, gets a copy of the page table of all of it. */
extern "C" __attribute__((visibility("default"))) const char*
__asan_default_options() {  // NOLINT: the sanitizer asks for this name
  return "quarantine_size_mb=16";
}
