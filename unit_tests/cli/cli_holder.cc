/**
 * A process with a segment, for the tests of the command line: cli_holder KIND NAME BYTES. It says
 * what GetUrl() is, then does what each line of its input says and answers with one line; at the
 * end of its input it ends without leaving, as a killed process does.
 */
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/multi_process_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"

namespace {

using hshm::ipc::FastMultiProcessAllocator;
using hshm::ipc::OffsetPtr;
using hshm::ipc::PosixMmap;
using hshm::ipc::PosixShmMmap;

constexpr hshm::ipc::MemoryBackendId kBackend(7);
constexpr hshm::ipc::AllocatorId kAllocator(1, 1);

/** Frees and allocates until the process ends. */
template <typename AllocT>
void Churn(AllocT* alloc, unsigned seed) {
  std::vector<OffsetPtr<>> blocks(200);
  for (;;) {
    seed = seed * 1103515245 + 12345;
    OffsetPtr<>& block = blocks[(seed >> 16) % blocks.size()];
    if (!block.IsNull()) alloc->FreeOffset(HSHM_DEFAULT_MEM_CTX, block);
    block = alloc->AllocateOffset(HSHM_DEFAULT_MEM_CTX, (seed >> 8) % 5000 + 1);
  }
}

template <typename AllocT>
class Commands {
 public:
  explicit Commands(AllocT* alloc) : alloc_(alloc) {}

  std::string Do(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    size_t first = 0;
    size_t second = 0;
    size_t stride = 1;
    words >> verb >> first >> second;
    words >> stride;
    if (verb == "alloc") return Allocate(first, second);
    if (verb == "free") return Free(first, second, words ? stride : 1);
    if (verb == "live") return std::to_string(alloc_->GetCurrentlyAllocatedSize());
    if (verb == "know") {
      blocks_.emplace_back(first);
      return "ok";
    }
    if (verb == "offset") return std::to_string(blocks_.at(first).load());
    if (verb == "fill") return std::to_string(Fill(first));
    if (verb == "stamp") return Stamp(first, second);
    if (verb == "stamped") return AreStamped(first, second, stride) ? "ok" : "changed";
    if (verb == "check") return alloc_->Check() ? "ok" : "broken";
    if constexpr (requires { alloc_->Recover(); }) {
      if (verb == "recover") return std::to_string(alloc_->Recover());
    }
    if (verb == "churn") {
      for (size_t i = 0; i < first; ++i) {
        std::thread([this, i] { Churn(alloc_, static_cast<unsigned>(i + 1)); }).detach();
      }
      return "ok";
    }
    return "unknown";
  }

 private:
  std::string Allocate(size_t bytes, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const OffsetPtr<> block = alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, bytes);
      if (block.IsNull()) return "full";
      blocks_.push_back(block);
    }
    return "ok";
  }
  std::string Free(size_t first, size_t count, size_t stride) {
    for (size_t i = first; i < first + count; i += stride) {
      alloc_->FreeOffset(HSHM_DEFAULT_MEM_CTX, blocks_.at(i));
    }
    return "ok";
  }

  /** Blocks of so many bytes until there is no room; freed again. @return how many there were */
  size_t Fill(size_t bytes) {
    std::vector<OffsetPtr<>> taken;
    for (;;) {
      const OffsetPtr<> block = alloc_->AllocateOffset(HSHM_DEFAULT_MEM_CTX, bytes);
      if (block.IsNull()) break;
      std::memset(alloc_->Convert(block), 0xee, bytes);
      taken.push_back(block);
    }
    for (const OffsetPtr<>& block : taken) alloc_->FreeOffset(HSHM_DEFAULT_MEM_CTX, block);
    return taken.size();
  }
  /** Fills all blocks that it has, of so many bytes, with a byte. */
  std::string Stamp(size_t bytes, size_t byte) {
    for (const OffsetPtr<>& block : blocks_) {
      std::memset(alloc_->Convert(block), static_cast<int>(byte), bytes);
    }
    return "ok";
  }
  /** Whether its first `count` blocks still are. */
  bool AreStamped(size_t bytes, size_t byte, size_t count) {
    const auto end = blocks_.begin() + static_cast<ptrdiff_t>(std::min(count, blocks_.size()));
    return std::all_of(blocks_.begin(), end, [&](const OffsetPtr<>& block) {
      const auto* begin = static_cast<const unsigned char*>(alloc_->Convert(block));
      return std::all_of(begin, begin + bytes, [&](unsigned char one) { return one == byte; });
    });
  }

  AllocT* alloc_;
  std::vector<OffsetPtr<>> blocks_;
};

template <typename AllocT>
void Serve(AllocT* alloc) {
  Commands<AllocT> commands(alloc);
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << commands.Do(line) << std::endl;
  }
}

template <typename Backend>
void Work(Backend* backend, bool is_new, const std::string& allocator) {
  if (allocator == "none") {
    for (std::string line; std::getline(std::cin, line);) std::cout << "ok" << std::endl;
  } else if (allocator == "buddy") {
    Serve(backend->template MakeAlloc<hshm::ipc::BuddyAllocator>(kAllocator));
  } else if (allocator == "scalable") {
    Serve(backend->template MakeAlloc<hshm::ipc::ScalablePageAllocator>(kAllocator));
  } else if (allocator == "checked") {
    Serve(backend->template MakeAlloc<hshm::ipc::CheckedMultiProcessAllocator>(kAllocator));
  } else if (is_new) {
    Serve(backend->template MakeAlloc<FastMultiProcessAllocator>(kAllocator));
  } else {
    Serve(backend->template AttachAlloc<FastMultiProcessAllocator>());
  }
}

void Run(const std::string& kind, const std::string& name, size_t bytes,
         const std::string& allocator) {
  if (kind == "file") {
    PosixMmap backend;
    backend.shm_init(kBackend, bytes, name);
    std::cout << backend.GetUrl() << std::endl;
    Work(&backend, true, allocator);
    _exit(0);
  }
  PosixShmMmap backend;
  if (kind == "attach") {
    backend.shm_attach(name);
  } else {
    hshm::ipc::PosixShmOptions options;
    if (kind == "unnamed") options.naming_ = hshm::ipc::Naming::kUnnamed;
    if (kind == "growing") options.max_size_bytes_ = 16 * bytes;
    backend.shm_init(kBackend, bytes, name, options);
  }
  if (kind == "unlinked") backend.Unlink();
  std::cout << backend.GetUrl() << std::endl;
  Work(&backend, kind != "attach", allocator);
  _exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  try {
    Run(argv[1], argv[2], std::stoull(argv[3]), argv[4]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  return 1;
}
