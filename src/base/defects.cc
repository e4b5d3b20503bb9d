#include "hermes_shm/base/defects.h"

#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "hermes_shm/base/check.h"

namespace hshm {
namespace {

/** Formats on the stack and writes with one call: the heap may be what is broken. */
template <typename... Args>
[[noreturn]] void Stop(const char* format, Args... args) noexcept {
  char line[512];
  const int length = std::snprintf(line, sizeof(line), format, args...);
  if (length > 0) {
    const bool fits = static_cast<size_t>(length) < sizeof(line);
    const size_t shown = fits ? static_cast<size_t>(length) : sizeof(line) - 1;
    line[shown - 1] = '\n';
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, shown);
  }
  std::abort();
}

}  // namespace

namespace detail {
void CheckFailed(const char* text, const char* file, int line) noexcept {
  Stop("hshm: CHECK failed: %s (%s:%d)\n", text, file, line);
}
}  // namespace detail

namespace defect {

void NullFree(const char* operation) noexcept {
  Stop("hshm: NullFree: %s was given the null offset.\n", operation);
}

void ForeignPointer(const char* operation, uint64_t offset, uint64_t region_bytes) noexcept {
  Stop("hshm: ForeignPointer: %s was given offset %" PRId64
       ", which is not in the data of this region of %" PRIu64 " bytes.\n",
       operation, static_cast<int64_t>(offset), region_bytes);
}

void ForeignPointer(const char* operation, ipc::AllocatorId named, ipc::AllocatorId here) noexcept {
  Stop("hshm: ForeignPointer: %s of allocator %" PRIu32 ".%" PRIu32
       " was given a pointer of allocator %" PRIu32 ".%" PRIu32 ".\n",
       operation, here.major_, here.minor_, named.major_, named.minor_);
}

void InvalidFree(const char* operation, uint64_t offset) noexcept {
  Stop("hshm: InvalidFree: %s was given offset %" PRIu64 ", where no allocated block begins.\n",
       operation, offset);
}

void DoubleFree(const char* operation, uint64_t offset) noexcept {
  Stop("hshm: DoubleFree: %s was given offset %" PRIu64 ", a block that is free already.\n",
       operation, offset);
}

void BadAlignment(const char* operation, uint64_t alignment) noexcept {
  Stop("hshm: BadAlignment: %s was asked for alignment %" PRIu64 ", which is not a power of two.\n",
       operation, alignment);
}

void Corruption(const char* what, uint64_t offset) noexcept {
  Stop("hshm: Corruption: %s at offset %" PRIu64
       " cannot be right: memory was overwritten, or a block was freed twice.\n",
       what, offset);
}

void NotTheHolder(const char* operation, uint64_t word) noexcept {
  Stop("hshm: NotTheHolder: %s on what this process does not hold (word %#" PRIx64 ").\n",
       operation, word);
}

void EmptyHandle(const char* name) noexcept {
  Stop(
      "hshm: EmptyHandle: The handle of %s was used while it stood for none: shm_init or "
      "shm_attach comes first, and nothing after shm_detach or shm_destroy.\n",
      name);
}

void NotAttached(const char* operation) noexcept {
  Stop("hshm: NotAttached: %s on an allocator that is not attached to a region.\n", operation);
}

void OverlappingBlock(const char* operation, uint64_t offset) noexcept {
  Stop("hshm: OverlappingBlock: %s met offset %" PRIu64
       ", a block that a user has: a freed block was written to, or freed twice at one moment.\n",
       operation, offset);
}

void WrongSize(const char* operation, uint64_t offset, uint64_t size_bytes,
               uint64_t block_bytes) noexcept {
  Stop("hshm: WrongSize: %s of %" PRIu64 " bytes was given offset %" PRIu64 ", a block of %" PRIu64
       " bytes, which was asked for with another size.\n",
       operation, size_bytes, offset, block_bytes);
}

void ClosedArena(const char* operation, uint32_t number) noexcept {
  Stop("hshm: ClosedArena: %s was given the context of arena %" PRIu32
       ", which is not open: it was popped, or is another handle's.\n",
       operation, number);
}

}  // namespace defect
}  // namespace hshm
