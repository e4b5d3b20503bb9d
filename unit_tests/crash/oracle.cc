#include "crash/oracle.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>

#include "crash/world.h"
#include "hermes_shm/memory/allocator/allocator_report.h"
#include "hermes_shm/memory/backend/array_backend.h"

namespace hshm::ipc::crash {
namespace {

/** Fills pages to the last byte: eight blocks to a page of 4 KiB. */
constexpr uint32_t kFillBytes = 512;
constexpr uint32_t kFillsPerPage = Config::kPageBytes / kFillBytes;

std::string At(const char* what, uint64_t offset) {
  return std::string(what) + " at offset " + std::to_string(offset);
}

const LiveBlock* Find(const std::vector<LiveBlock>& live, uint64_t offset) {
  const auto found = std::lower_bound(
      live.begin(), live.end(), offset,
      [](const LiveBlock& block, uint64_t value) { return block.offset_ < value; });
  return found != live.end() && found->offset_ == offset ? &*found : nullptr;
}

bool IsPublished(const char* memory, uint64_t region_bytes) {
  const auto* header =
      reinterpret_cast<const AllocatorHeader*>(memory + AllocatorOffsetFor(region_bytes));
  return header->type_.load() != 0;
}

std::vector<LiveBlock> UnknownOf(const HeapWalk& walk, const std::vector<ShadowBlock>& known) {
  std::vector<uint64_t> offsets;
  for (const ShadowBlock& block : known) offsets.push_back(block.offset_);
  std::sort(offsets.begin(), offsets.end());
  std::vector<LiveBlock> unknown;
  for (const LiveBlock& block : walk.live()) {
    if (!std::binary_search(offsets.begin(), offsets.end(), block.offset_)) {
      unknown.push_back(block);
    }
  }
  return unknown;
}

}  // namespace

uint32_t LossesOf(const HeapWalk& walk, const std::vector<ShadowBlock>& known) {
  std::map<uint32_t, uint32_t> by_page;
  for (const LiveBlock& block : UnknownOf(walk, known)) ++by_page[block.first_page_];
  constexpr uint32_t kRun = multi_process::RunWord<Config>::kMaxBlocks;
  uint32_t losses = 0;
  for (const auto& [page, blocks] : by_page) losses += (blocks + kRun - 1) / kRun;
  return losses;
}

void FreeUnknown(Allocator* heap, const HeapWalk& walk, const std::vector<ShadowBlock>& known) {
  for (const LiveBlock& block : UnknownOf(walk, known)) {
    heap->FreeOffset(MemContext(), OffsetPtr<>(block.offset_));
  }
}

size_t CountPages(Allocator* heap) {
  std::vector<OffsetPtr<>> pages;
  for (;;) {
    const OffsetPtr<> page = heap->AllocateOffset(MemContext(), Config::kPageBytes);
    if (page.IsNull()) break;
    pages.push_back(page);
  }
  for (const OffsetPtr<> page : pages) heap->FreeOffset(MemContext(), page);
  return pages.size();
}

Oracle::Oracle(uint64_t region_bytes)
    : region_bytes_(region_bytes),
      memory_(static_cast<char*>(std::aligned_alloc(4096, region_bytes))),
      second_(static_cast<char*>(std::aligned_alloc(4096, region_bytes))) {}

Oracle::~Oracle() {
  std::free(memory_);
  std::free(second_);
}

Region Oracle::RegionOf(char* memory) const { return {memory, region_bytes_, nullptr}; }

/** Of the image as the death left it, and of what became of it. */
std::string Oracle::JudgeWords(const Evidence& evidence) const {
  std::vector<uint64_t> certain;
  std::vector<uint64_t> known;
  for (const ShadowBlock& block : evidence.blocks_) {
    known.push_back(block.offset_);
    if (block.is_certain_) certain.push_back(block.offset_);
  }
  const std::string fault = KeyComplaint(RegionOf(memory_), certain);
  return fault.empty() ? MemoryComplaint(RegionOf(memory_), known) : fault;
}

/** Nobody but the recoverer lives: what is left is its own, and its frees find that so. */
std::string Oracle::JudgeAdoption(const Evidence& evidence) const {
  const Region region = RegionOf(memory_);
  const Root root(region, CoreOffset(region), nullptr);
  for (const ShadowBlock& block : evidence.blocks_) {
    const auto* entry = root.pages().EntryOf(block.offset_);
    const uint32_t head = root.pages().HeadOf(root.pages().PageOf(block.offset_));
    const uint32_t owner = root.pages().Entry(head)->owner_.Get();
    if (!block.is_certain_ || owner == multi_process::kFreePage) continue;  // a large block
    if (multi_process::FreeKey::Id(entry->key_.Get()) != owner) {
      return At("an adopted page has the key of the dead", block.offset_);
    }
  }
  return {};
}

std::string Oracle::Judge(const Evidence& evidence) {
  std::memcpy(memory_, evidence.image_, region_bytes_);
  if (IsPublished(memory_, region_bytes_)) {
    if (const std::string fault = JudgeWords(evidence); !fault.empty()) return fault;
    if (!CheckDeadCopy(RegionOf(memory_))) return "a look at what a death left finds it broken";
  }
  try {
    ArrayBackend backend;
    backend.shm_attach(memory_, region_bytes_);
    // A creator that died before it published: the region may be used as if it had never come.
    Allocator* allocator = IsPublished(memory_, region_bytes_)
                               ? backend.AttachAlloc<Allocator>()
                               : backend.MakeAlloc<Allocator>(AllocatorId(1, 0));
    return JudgeRecovered(evidence, allocator);
  } catch (const std::exception& error) {
    return std::string("attaching failed: ") + error.what();
  }
}

std::string Oracle::JudgeRecovered(const Evidence& evidence, Allocator* allocator) {
  if (!allocator->Check()) return "P1: Check() says no after recovery";
  std::string fault = demand_ ? demand_(*allocator) : std::string();
  if (fault.empty()) fault = JudgeWords(evidence);
  if (fault.empty()) fault = JudgeAdoption(evidence);
  if (!fault.empty()) return fault;
  const HeapWalk walk(RegionOf(memory_));
  fault = CompareLive(evidence, walk);
  if (!fault.empty()) return fault;
  if (allocator->GetCurrentlyAllocatedSize() != walk.LiveBytes()) {
    return "the allocator counts " + std::to_string(allocator->GetCurrentlyAllocatedSize()) +
           " live bytes, the walk " + std::to_string(walk.LiveBytes());
  }
  fault = CheckPatterns(evidence);
  if (evidence.is_thorough_) {
    if (fault.empty()) fault = RecoverAgain(walk);
    if (fault.empty()) fault = FillUp(evidence, allocator);
  }
  if (fault.empty()) fault = FreeKnown(evidence, allocator);
  if (fault.empty()) fault = FreeLost(allocator);
  return fault;
}

std::string Oracle::CompareLive(const Evidence& evidence, const HeapWalk& walk) {
  if (!walk.complaint().empty()) return "the lists are broken: " + walk.complaint();
  uint32_t known = 0;
  for (const ShadowBlock& block : evidence.blocks_) {
    const LiveBlock* found = Find(walk.live(), block.offset_);
    if (found == nullptr && block.is_certain_) {
      return At("P2: a live block is lost", block.offset_);
    }
    if (found == nullptr) continue;
    if (block.is_certain_ && found->bytes_ < block.size_bytes_) {
      return At("P2: a live block has become smaller", block.offset_);
    }
    ++known;
  }
  if (LossesOf(walk, evidence.blocks_) > evidence.unknown_allowed_) {
    return "P3: " + std::to_string(walk.live().size()) + " blocks live, " + std::to_string(known) +
           " of them known, " + std::to_string(evidence.unknown_allowed_) +
           " may be in flight, or as many runs of remote frees";
  }
  return {};
}

std::string Oracle::CheckPatterns(const Evidence& evidence) const {
  for (const ShadowBlock& block : evidence.blocks_) {
    if (!block.is_certain_) continue;
    if (!HasPattern(memory_ + block.offset_, block.size_bytes_, block.seed_)) {
      return At("P2: a live block was written into", block.offset_);
    }
  }
  return {};
}

/** Whoever recovers the recovered region finds the same blocks. */
std::string Oracle::RecoverAgain(const HeapWalk& before) {
  std::memcpy(second_, memory_, region_bytes_);
  ArrayBackend backend;
  backend.shm_attach(second_, region_bytes_);
  if (!backend.AttachAlloc<Allocator>()->Check()) return "P5: Check() says no after the second";
  const HeapWalk after(RegionOf(second_));
  const bool is_same = std::equal(before.live().begin(), before.live().end(), after.live().begin(),
                                  after.live().end(), [](const LiveBlock& a, const LiveBlock& b) {
                                    return a.offset_ == b.offset_ && a.bytes_ == b.bytes_;
                                  });
  return is_same ? std::string() : "P5: the second recovery found other blocks";
}

/** Takes all that is left: nothing of it may be somebody's. */
std::string Oracle::FillUp(const Evidence& evidence, Allocator* allocator) {
  std::vector<OffsetPtr<>> taken;
  for (const uint64_t size_bytes : {uint64_t{9000}, uint64_t{2500}, uint64_t{kFillBytes}}) {
    for (;;) {
      const OffsetPtr<> block = allocator->AllocateOffset(MemContext(), size_bytes);
      if (block.IsNull()) break;
      std::memset(memory_ + block.load(), 0xee, size_bytes);
      taken.push_back(block);
    }
  }
  for (const OffsetPtr<>& block : taken) allocator->FreeOffset(MemContext(), block);
  return CheckPatterns(evidence);
}

std::string Oracle::FreeKnown(const Evidence& evidence, Allocator* allocator) {
  for (const ShadowBlock& block : evidence.blocks_) {
    if (block.is_certain_) allocator->FreeOffset(MemContext(), OffsetPtr<>(block.offset_));
  }
  if (allocator->GetCurrentlyAllocatedSize() == 0) return {};
  return CheckCapacity(allocator, "with the lost blocks in place");
}

std::string Oracle::FreeLost(Allocator* allocator) {
  const HeapWalk walk(RegionOf(memory_));
  const Region region = RegionOf(memory_);
  const auto pages = Root(region, CoreOffset(region), nullptr).pages();
  for (const LiveBlock& block : walk.live()) {
    // No user knows it, so the policy Checked has it marked as nobody's; here one comes to know it.
    const bool has_mark = pages.EntryOf(block.offset_)->owner_.Get() != multi_process::kFreePage;
    if (has_mark) pages.MarkLive(block.offset_);
    allocator->FreeOffset(MemContext(), OffsetPtr<>(block.offset_));
  }
  if (allocator->GetCurrentlyAllocatedSize() != 0) return "P4: live bytes in an empty region";
  return CheckCapacity(allocator, "when all is free");
}

/** Every page without a live block can be filled; a page of the filler's own class beside it. */
std::string Oracle::CheckCapacity(Allocator* allocator, const char* when) {
  allocator->Trim();
  if (!allocator->Check()) return std::string("Check() says no ") + when;
  const HeapWalk walk(RegionOf(memory_));
  if (!walk.complaint().empty())
    return "the lists are broken " + (when + (": " + walk.complaint()));
  if (walk.empty_pages() != 0) {
    return "P4: " + std::to_string(walk.empty_pages()) + " owned pages hold nothing " + when;
  }
  uint32_t expected = (walk.data_pages() - walk.record_pages() - walk.live_pages()) * kFillsPerPage;
  uint32_t last_page = 0;
  for (const LiveBlock& block : walk.live()) {
    if (block.bytes_ != kFillBytes) continue;
    if (block.first_page_ != last_page) expected += kFillsPerPage;
    last_page = block.first_page_;
    --expected;
  }
  std::vector<OffsetPtr<>> taken;
  for (;;) {
    const OffsetPtr<> block = allocator->AllocateOffset(MemContext(), kFillBytes);
    if (block.IsNull()) break;
    taken.push_back(block);
  }
  for (const OffsetPtr<>& block : taken) allocator->FreeOffset(MemContext(), block);
  if (taken.size() == expected) return {};
  return "P4: " + std::to_string(taken.size()) + " blocks of 512 bytes were there, not " +
         std::to_string(expected) + ", " + when;
}

}  // namespace hshm::ipc::crash
