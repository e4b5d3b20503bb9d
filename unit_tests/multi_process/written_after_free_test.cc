/** What a process wrote into what it had freed, before it died of it. */
#include <algorithm>
#include <csignal>
#include <cstring>
#include <utility>
#include <vector>

#include "multi_process/heap.h"
#include "support/child_process.h"

namespace hshm::test {
namespace {

using ipc::multi_process::RunBearer;

constexpr uint64_t kRegion = 16 << 20;
constexpr uint64_t kRunBytes = 3 * 65536;
constexpr size_t kFreed = 20;
constexpr size_t kWaits = 16;  // of them, the first one that is not posted, of small blocks
constexpr uint64_t kPattern = 0x5a5a5a5a5a5a5a51;  // no block begins there

/** The list that has the block. */
enum class Place { kClassSlot, kPage, kPosted, kWaitingToBePosted };
/** What was written over its link, or into what it says of its run. */
enum class Link {
  kOutside,
  kLastByte,
  kNoBlock,
  kItself,
  kOtherPage,
  kOfTheLiving,
  kOtherKind,
  kNeverListed,
};

/** What both processes know, in a block of the heap. */
struct Known {
  uint64_t of_the_living_;
  uint64_t count_;
  uint64_t of_the_dead_[2048];  // what it did not free
};

class Writer {
 public:
  Writer(SharedHeap<MultiProcessAllocator>* heap, Known* known, uint64_t size)
      : heap_(heap), known_(known), size_(size) {}

  void WriteAndDie(Place place, Link link) {
    MultiProcessAllocator* alloc = heap_->Attach();
    Allocate(alloc, link);
    const std::vector<uint64_t> freed(blocks_.begin(), blocks_.begin() + kFreed);
    const bool is_remote = place == Place::kPosted || place == Place::kWaitingToBePosted;
    MultiProcessAllocator* frees = is_remote ? heap_->Attach() : alloc;
    // The page's own list is not empty.
    if (is_remote) alloc->FreeOffset(kCtx, OffsetPtr<>(blocks_[kFreed]));
    for (uint64_t block : freed) frees->FreeOffset(kCtx, OffsetPtr<>(block));
    bool is_on_its_way = place == Place::kClassSlot;  // the list of the page becomes the slot's
    while (is_on_its_way) {
      const uint64_t block = alloc->AllocateOffset(kCtx, size_).load();
      is_on_its_way = std::find(freed.begin(), freed.end(), block) == freed.end();
    }
    const uint64_t block = freed[place == Place::kWaitingToBePosted         ? kWaits
                                 : place == Place::kPosted && size_ <= 2048 ? 0
                                                                            : kFreed / 2];
    const uint64_t word = is_remote ? SaidFor(link, block) : WordFor(link, block);
    char* bytes = alloc->GetRegion().AddressOf(block);
    is_remote ? std::memcpy(bytes + 8, &word, 6) : std::memcpy(bytes, &word, sizeof word);
    raise(SIGKILL);
  }

 private:
  /** More than a page or a span has; or so few that a page has never listed its last one. */
  void Allocate(MultiProcessAllocator* alloc, Link link) {
    size_t count = size_ <= 2048 ? 65536 / size_ + 40 : size_ < kRunBytes ? 70 : 40;
    if (link == Link::kNeverListed) count = kFreed + (size_ <= 2048 ? 20 : 2);
    other_kind_ = alloc->AllocateOffset(kCtx, size_ == kRunBytes ? 64 : kRunBytes).load();
    for (size_t i = 0; i < count; ++i) {
      blocks_.push_back(alloc->AllocateOffset(kCtx, size_).load());
      if (i <= kFreed) continue;
      std::memcpy(alloc->GetRegion().AddressOf(blocks_[i]), &kPattern, sizeof kPattern);
      known_->of_the_dead_[known_->count_++] = blocks_[i];
    }
  }
  /** Of a run's first block: {how many others, the run before, the number of one other}. */
  uint64_t SaidFor(Link link, uint64_t block) const {
    constexpr uint64_t kOne = RunBearer::MakeOthers(1);
    const uint64_t number = block % 65536 / 16;
    // Of a run that waits the count is elsewhere, and in Fast any block of the page may be in it.
    const uint64_t alone = RunBearer::MakeOthers(0) | number << 32;
    switch (link) {
      case Link::kOutside:
        return ~uint64_t{0};
      case Link::kLastByte:
        return alone | uint64_t{0xffff} << 16;
      case Link::kNoBlock:
        return kOne | (number + 1) << 32;
      case Link::kItself:
        return kOne | (number + 1) << 16 | number << 32;
      case Link::kNeverListed:
        return kOne | LastOf(block) % 65536 / 16 << 32;
      case Link::kOtherPage:  // none can lead there
      case Link::kOfTheLiving:
      case Link::kOtherKind:
        return alone;
    }
    return 0;
  }
  uint64_t WordFor(Link link, uint64_t block) const {
    switch (link) {
      case Link::kOutside:
        return ~uint64_t{0};
      case Link::kLastByte:
        return kRegion - 1;
      case Link::kNoBlock:
        return kRegion / 2 + 8;
      case Link::kItself:
        return block;
      case Link::kOtherPage:
        return blocks_.back();
      case Link::kOfTheLiving:
        return known_->of_the_living_;
      case Link::kOtherKind:
        return other_kind_;
      case Link::kNeverListed:
        return LastOf(block);
    }
    return 0;
  }

  /** The block of the page, or the span of pages, that is carved last. */
  uint64_t LastOf(uint64_t block) const {
    const ipc::Region& region = heap_->first()->GetRegion();
    const auto* header =
        region.At<ipc::AllocatorHeader>(ipc::AllocatorOffsetFor(region.size_bytes_));
    const ipc::multi_process::RootTier<ipc::multi_process::LargePages> root(
        region, header->core_offset_, nullptr);
    const uint32_t head = root.pages().HeadOf(static_cast<uint32_t>(block / 65536));
    const uint64_t bytes = root.pages().BlockBytes(head);
    const uint32_t last = root.pages().OrderOf(head).BlockAt(root.pages().Capacity(head) - 1);
    return head * uint64_t{65536} + last * bytes;
  }

  SharedHeap<MultiProcessAllocator>* heap_;
  Known* known_;
  uint64_t size_;
  uint64_t other_kind_ = 0;  // a block of its own of another kind
  std::vector<uint64_t> blocks_;
};

/** Sweeps, takes all there is, and finds nothing twice, nor what others have. */
int Survive(MultiProcessAllocator* alloc, const Known& known, uint64_t size) {
  std::vector<uint64_t> offsets(known.of_the_dead_, known.of_the_dead_ + known.count_);
  offsets.push_back(known.of_the_living_);
  for (OffsetPtr<> block : FillUp(alloc, {size})) offsets.push_back(block.load());
  std::sort(offsets.begin(), offsets.end());
  return std::adjacent_find(offsets.begin(), offsets.end()) != offsets.end() ? 1 : 0;
}

void Try(uint64_t size, Place place, Link link) {
  CAPTURE(size, static_cast<int>(place), static_cast<int>(link));
  SharedHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* first = heap.first();
  auto* known = reinterpret_cast<Known*>(
      first->GetRegion().AddressOf(first->AllocateOffset(kCtx, sizeof(Known)).load()));
  known->count_ = 0;
  known->of_the_living_ = first->AllocateOffset(kCtx, size).load();
  char* living = first->GetRegion().AddressOf(known->of_the_living_);
  // As a link its first word would be the end of a list.
  const uint64_t content[] = {0, kPattern};
  std::memcpy(living, content, sizeof content);
  ChildProcess dies([&] {
    Writer(&heap, known, size).WriteAndDie(place, link);
    return 0;
  });
  REQUIRE(dies.Wait() == -SIGKILL);
  const Ending ending = RunInChild([&] {
    alarm(20);
    if (const int status = Survive(heap.Attach(), *known, size); status != 0) _exit(status);
  });
  CAPTURE(ending.errors_);
  REQUIRE(ending.status_ == 0);
  REQUIRE(std::memcmp(living, content, sizeof content) == 0);
  first->Recover();
  REQUIRE(first->Check());
  bool is_handed_out = false;  // what it has, and the dead have not freed for it
  for (OffsetPtr<> block : FillUp(first, {size})) {
    is_handed_out = is_handed_out || block.load() == known->of_the_living_;
  }
  REQUIRE_FALSE(is_handed_out);
}

TEST_CASE("A process that wrote into what it had freed, and died, takes no survivor with it") {
  const uint64_t size = GENERATE(64, 2048, 9 << 10, kRunBytes);
  const Link link = GENERATE(Link::kOutside, Link::kLastByte, Link::kNoBlock, Link::kItself,
                             Link::kOfTheLiving, Link::kOtherKind);
  if (size == 64) Try(size, Place::kPage, link);  // the others' are in a class slot at once
  Try(size, Place::kClassSlot, link);
}

TEST_CASE(
    "A process that wrote into what was freed for it, or by it for another, and died, takes "
    "no survivor with it") {
  const uint64_t size = GENERATE(64, 2048, 9 << 10);
  const Link link = GENERATE(Link::kOutside, Link::kLastByte, Link::kNoBlock, Link::kItself,
                             Link::kOtherPage, Link::kOfTheLiving);
  Try(size, Place::kPosted, link);
  Try(size, Place::kWaitingToBePosted, link);
}

TEST_CASE(
    "A free block that its dead user made lead into another page of its class leads nowhere") {
  Try(64, GENERATE(Place::kPage, Place::kClassSlot), Link::kOtherPage);
}

TEST_CASE("A free block that its dead user made lead to one that no list ever had stops nobody") {
  Try(64, GENERATE(Place::kPage, Place::kClassSlot, Place::kPosted, Place::kWaitingToBePosted),
      Link::kNeverListed);
}

/** The first four blocks are freed by a process that writes, into the first one, which the others
 * are, and dies before it has posted them. */
void WriteIntoRun(SharedHeap<MultiProcessAllocator>* heap, const std::vector<OffsetPtr<>>& blocks,
                  const std::vector<uint16_t>& numbers) {
  ChildProcess dies([&] {
    MultiProcessAllocator* own = heap->Attach();
    for (size_t i = 0; i <= numbers.size(); ++i) own->FreeOffset(kCtx, blocks[i]);
    std::memcpy(BytesOf(own, blocks[0]) + 12, numbers.data(), numbers.size() * sizeof(uint16_t));
    raise(SIGKILL);
    return 0;
  });
  REQUIRE(dies.Wait() == -SIGKILL);
}

TEST_CASE("A run of a living process's blocks into which their dead user wrote is lost, no more") {
  const uint64_t size = GENERATE(64, 200, 2048);
  const int written = GENERATE(0, 1, 2, 3);
  CAPTURE(size, written);
  SharedHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  std::vector<OffsetPtr<>> blocks;
  for (int i = 0; i < 20; ++i) blocks.push_back(alloc->AllocateOffset(kCtx, size));
  const uint64_t live = alloc->GetCurrentlyAllocatedSize();
  std::vector<uint16_t> numbers;
  for (size_t i = 1; i < 4; ++i) {
    REQUIRE(blocks[i].load() / 65536 == blocks[0].load() / 65536);
    numbers.push_back(static_cast<uint16_t>(blocks[i].load() % 65536 / 16));
  }
  if (written == 0) numbers[1] = numbers[0];  // one twice
  if (written == 1) numbers[2] = static_cast<uint16_t>(blocks[0].load() % 65536 / 16);
  if (written == 2) ++numbers[0];  // no block begins there
  if (written == 3) numbers.assign(3, 0xffff);
  WriteIntoRun(&heap, blocks, numbers);
  alloc->Recover();
  alloc->Trim();  // takes what was posted
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == live);
  REQUIRE(alloc->Check());
  FreeAll(alloc, {blocks.begin() + 4, blocks.end()});
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == live / 5);
  REQUIRE(alloc->Check());
}

TEST_CASE("A free block that its dead user made lead into memory that its span has not got yet") {
  Try(9 << 10, Place::kClassSlot, Link::kNeverListed);
}

}  // namespace
}  // namespace hshm::test
