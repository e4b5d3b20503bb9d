#include "crash/world.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "hermes_shm/base/check.h"
#include "hermes_shm/base/error.h"

namespace hshm::ipc::crash {

void FillPattern(char* block, uint32_t size_bytes, uint32_t seed) {
  for (uint32_t i = 0; i < size_bytes; ++i) block[i] = PatternByte(seed, i);
}

bool HasPattern(const char* block, uint32_t size_bytes, uint32_t seed) {
  for (uint32_t i = 0; i < size_bytes; ++i) {
    if (block[i] != PatternByte(seed, i)) return false;
  }
  return true;
}

World::World(char* region, uint64_t size_bytes, TraceLog* log, uint64_t seed)
    : region_(region),
      size_bytes_(size_bytes),
      log_(log),
      tracer_(region, size_bytes, log),
      rng_(seed),
      backend_(std::make_unique<ArrayBackend>()) {
  helpers_.reserve(64);
}

// ---- tracing ---------------------------------------------------------------------------------

void World::Snapshot(const char* what, uint32_t unknown_allowed) {
  if (!has_base_) log_->SetBase(region_);
  has_base_ = true;
  log_->BeginPhase(what, blocks_, unknown_ + unknown_allowed, HasRemains());
}

/** By what the region's words say, not by who died: others than Recover sweep, too. */
bool World::HasRemains() const {
  if (!backend_->IsOpen()) return false;
  RegionServices* const services = backend_->region().services_;
  const std::vector<uint32_t> slots = LabelingSlots(region());
  return std::any_of(slots.begin(), slots.end(), [&](uint32_t s) { return !services->IsAlive(s); });
}

void World::Rest() {
  if (!is_tracing_) return;
  Snapshot("at rest", 0);
  log_->Note(region_, 0, size_bytes_);
  log_->EndImage();
}

void World::Step(const char* what, uint32_t unknown_allowed,
                 const std::function<void()>& operation) {
  if (!is_tracing_) return operation();
  Snapshot(what, unknown_allowed);
  tracer_.Start();
  operation();
  tracer_.Stop();
}

// ---- set-up ----------------------------------------------------------------------------------

uint32_t World::AddHandle(Allocator* allocator, const MultiProcessOptions& options,
                          MemContext context) {
  Membership& member = allocator->GetMembership();
  handles_.push_back({allocator, options.on_death_, member.slot(), member.generation()});
  actors_.push_back({static_cast<uint32_t>(handles_.size() - 1), context, kMain});
  return static_cast<uint32_t>(actors_.size() - 1);
}

void World::Init(const MultiProcessOptions& options) {
  if (!backend_->IsOpen()) backend_->shm_init(MemoryBackendId::Get(0), size_bytes_, region_);
  Allocator* allocator = nullptr;
  Step("init", 0,
       [&] { allocator = backend_->MakeAlloc<Allocator>(AllocatorId(1, 0), 0, options); });
  AddHandle(allocator, options, allocator->CreateTls(MemContext()));
  const Offset header = AllocatorOffsetFor(size_bytes_);
  HSHM_CHECK(region().At<AllocatorHeader>(header)->core_offset_ == RootOffset(size_bytes_));
}

void World::Reopen() {
  if (backend_->IsOpen()) old_backends_.push_back(std::move(backend_));
  backend_ = std::make_unique<ArrayBackend>();
  backend_->shm_attach(region_, size_bytes_);
  actors_.clear();
}

uint32_t World::Attach(const MultiProcessOptions& options) {
  Rest();
  Allocator* allocator = nullptr;
  Step("attach", 1, [&] {
    try {
      allocator = backend_->AttachAlloc<Allocator>(options);
    } catch (const Error& error) {
      HSHM_CHECK(error.code() == ErrorCode::kNoSpace);  // the region is full, and stays as it is
    }
  });
  if (allocator == nullptr) return kMain;
  return AddHandle(allocator, options, allocator->CreateTls(MemContext()));
}

void World::DropActorsOf(uint32_t handle) {
  std::erase_if(actors_, [&](const Actor& actor) { return actor.handle_ == handle; });
}

void World::MakeUncertain(uint32_t handle) {
  for (ShadowBlock& block : blocks_) {
    if (block.handle_ == handle) block.is_certain_ = false;
  }
}

void World::Detach(uint32_t handle, multi_process::DetachMode mode) {
  Rest();
  if (mode == multi_process::DetachMode::kDelete) MakeUncertain(handle);
  Allocator* allocator = handles_[handle].allocator_;
  Step(mode == multi_process::DetachMode::kDelete ? "detach(kDelete)" : "detach(kKeepLive)", 1,
       [&] { allocator->shm_detach(mode); });
  DropActorsOf(handle);
}

void World::Kill(uint32_t handle) {
  const Handle& dead = handles_[handle];
  if (dead.on_death_ == OnDeath::kReclaim) MakeUncertain(handle);
  backend_->region().services_->ReleaseSlot(dead.slot_);
  DropActorsOf(handle);
}

uint32_t World::Fork(uint32_t handle) {
  Rest();
  const pid_t child = fork();
  HSHM_CHECK(child >= 0);
  if (child != 0) {
    int status = 0;
    HSHM_CHECK(waitpid(child, &status, 0) == child);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // the time for a play is the parent's
  actors_.clear();
  const Handle parent = handles_[handle];
  MemContext context;
  Step("first call of a forked child", 1,
       [&] { context = parent.allocator_->CreateTls(MemContext()); });
  if (!context.IsValid()) return kMain;
  MultiProcessOptions options;
  options.on_death_ = parent.on_death_;
  HSHM_CHECK(parent.allocator_->GetMembership().slot() != parent.slot_);
  return AddHandle(parent.allocator_, options, context);
}

uint32_t World::StartThread(uint32_t handle) {
  Rest();
  Allocator* allocator = handles_[handle].allocator_;
  helpers_.push_back(std::make_unique<Helper>());
  Helper* helper = helpers_.back().get();
  MemContext context;
  helper->thread_ = std::thread([allocator, helper, &context] {
    helper->go_.acquire();
    context = allocator->CreateTls(MemContext());
    helper->done_.release();
    helper->go_.acquire();
  });
  Step("first call of a thread", 1, [&] {
    helper->go_.release();
    helper->done_.acquire();
  });
  HSHM_CHECK(context.IsValid());
  actors_.push_back({handle, context, static_cast<uint32_t>(helpers_.size() - 1)});
  return static_cast<uint32_t>(actors_.size() - 1);
}

void World::EndThread(uint32_t actor) {
  Rest();
  Helper* helper = helpers_[actors_[actor].helper_].get();
  Step("end of a thread", 1, [&] {
    helper->go_.release();
    helper->thread_.join();
  });
  actors_.erase(actors_.begin() + actor);
}

// ---- operations ------------------------------------------------------------------------------

void World::AddBlock(uint32_t handle, uint64_t offset, uint32_t size_bytes) {
  // Of large pages the bytes of a run would take longer to compare than all else takes.
  if (Config::kPageShift > 12) size_bytes = std::min(size_bytes, 4096u);
  const bool is_certain = handles_[handle].on_death_ == OnDeath::kKeepLive;
  blocks_.push_back({offset, size_bytes, next_seed_++, handle, is_certain});
  FillPattern(region_ + offset, size_bytes, blocks_.back().seed_);
}

bool World::Allocate(uint32_t actor, uint32_t size_bytes, uint32_t alignment) {
  Rest();
  const Actor who = actors_[actor];
  uint64_t offset = 0;
  Step("allocate", 1, [&] {
    Allocator* allocator = handles_[who.handle_].allocator_;
    offset = alignment == 0
                 ? allocator->AllocateOffset(who.context_, size_bytes).load()
                 : allocator->AlignedAllocateOffset(who.context_, size_bytes, alignment).load();
  });
  if (offset == 0) return false;
  AddBlock(who.handle_, offset, size_bytes);
  return true;
}

void World::Free(uint32_t actor, uint32_t index) {
  Rest();
  const Actor who = actors_[actor];
  const ShadowBlock block = blocks_[index];
  HSHM_CHECK(HasPattern(region_ + block.offset_, block.size_bytes_, block.seed_));
  blocks_[index].is_certain_ = false;
  Step(who.handle_ == block.handle_ ? "free" : "remote free", 1, [&] {
    handles_[who.handle_].allocator_->FreeOffset(who.context_, OffsetPtr<>(block.offset_));
  });
  Forget(block);
}

void World::FreeWithoutRoot(uint32_t index) {
  Rest();
  const ShadowBlock block = blocks_[index];
  blocks_[index].is_certain_ = false;
  Root root(region(), CoreOffset(region()), nullptr);
  const uint32_t granule = root.GranuleOf(root.pages().PageOf(block.offset_));
  Step("free without the root", 1, [&] { HSHM_CHECK(root.LeaveFreed(granule)); });
  Forget(block);
}

void World::Reallocate(uint32_t actor, uint32_t index, uint32_t size_bytes) {
  Rest();
  const Actor who = actors_[actor];
  const ShadowBlock block = blocks_[index];
  blocks_[index].is_certain_ = false;
  uint64_t offset = 0;
  Step("reallocate", 2, [&] {
    offset = handles_[who.handle_]
                 .allocator_->ReallocateOffset(who.context_, OffsetPtr<>(block.offset_), size_bytes)
                 .load();
  });
  Forget(block);
  if (offset == 0) {
    blocks_.push_back(block);
    return;
  }
  HSHM_CHECK(HasPattern(region_ + offset, std::min(size_bytes, block.size_bytes_), block.seed_));
  // In place the block stays its allocator's, who may be another handle than the caller.
  AddBlock(offset == block.offset_ ? block.handle_ : who.handle_, offset, size_bytes);
}

bool World::ResizeInPlace(uint32_t actor, uint32_t index, uint32_t size_bytes, bool is_hidden) {
  Rest();
  const Actor who = actors_[actor];
  ShadowBlock block = blocks_[index];
  const uint32_t present = block.size_bytes_;
  blocks_[index].size_bytes_ = std::min(present, size_bytes);
  if (is_hidden) blocks_[index].is_certain_ = false;
  bool is_resized = false;
  Step("resize in place", 0, [&] {
    is_resized = handles_[who.handle_].allocator_->ResizeInPlace(
        who.context_, OffsetPtr<>(block.offset_), size_bytes);
  });
  block.size_bytes_ = is_resized ? size_bytes : present;
  FillPattern(region_ + block.offset_, block.size_bytes_, block.seed_);
  Forget(block);  // others may have put theirs in front of it
  blocks_.push_back(block);
  return is_resized;
}

void World::Forget(const ShadowBlock& block) {
  const auto found = std::find_if(blocks_.begin(), blocks_.end(), [&](const ShadowBlock& other) {
    return other.seed_ == block.seed_;  // of those made here no other has it
  });
  if (found != blocks_.end()) blocks_.erase(found);
}

std::vector<World::Actor> World::SetAside(uint32_t handle) {
  std::vector<Actor> aside;
  for (const Actor& actor : actors_) {
    if (actor.handle_ == handle) aside.push_back(actor);
  }
  DropActorsOf(handle);
  return aside;
}

uint32_t World::LoseUncertain() {
  return static_cast<uint32_t>(
      std::erase_if(blocks_, [](const ShadowBlock& block) { return !block.is_certain_; }));
}

void World::Recover(uint32_t actor) {
  Rest();
  const Actor& who = actors_[actor];
  Step("recover", 1, [&] { handles_[who.handle_].allocator_->Recover(); });
}

void World::Trim(uint32_t actor) {
  Rest();
  // The calling thread's heap: only the main thread's own context will do.
  const Actor& who = actors_[actor];
  Step("trim", 1, [&] { handles_[who.handle_].allocator_->Trim(); });
}

void World::Reclaim(uint32_t actor, uint32_t dead_handle) {
  Rest();
  const Actor& who = actors_[actor];
  const Handle& dead = handles_[dead_handle];
  MakeUncertain(dead_handle);
  Step("reclaim", 1,
       [&] { handles_[who.handle_].allocator_->Reclaim(dead.slot_, dead.generation_); });
}

uint32_t World::RandomBlock() {
  if (blocks_.empty()) return kMain;
  for (uint32_t attempt = 0; attempt < 8; ++attempt) {
    const uint32_t index = Random(static_cast<uint32_t>(blocks_.size()));
    // An uncertain block of a handle that is gone is nobody's to free.
    const bool is_reclaimed = std::none_of(actors_.begin(), actors_.end(), [&](const Actor& a) {
      return a.handle_ == blocks_[index].handle_;
    });
    if (blocks_[index].is_certain_ || (!is_reclaimed && !is_interrupted_)) return index;
  }
  return kMain;
}

/** All kinds: classes of one page, of wide pages, runs, large blocks. */
uint32_t World::RandomSize() {
  switch (Random(8)) {
    case 0:
    case 1:
    case 2:
      return 1 + Random(128);
    case 3:
    case 4:
      return 129 + Random(384);
    case 5:
      return 513 + Random(3584);
    case 6:
      return 4097 + Random(12288);
    default:
      return 200 + Random(313);
  }
}

void World::RandomOperation() {
  const auto actor = Random(static_cast<uint32_t>(actors_.size()));
  const uint32_t dice = Random(100);
  const uint32_t block = RandomBlock();
  if (dice < 50 || block == kMain) {
    const uint32_t alignment = Random(8) == 0 ? 16u << Random(9) : 0;
    Allocate(actor, RandomSize(), alignment);
  } else if (dice < 92) {
    Free(actor, block);
  } else if (dice < 97) {
    Reallocate(actor, block, RandomSize());
  } else if (dice < 98) {
    Trim(actor);
  } else if (dice < 99) {
    Recover(actor);
  } else if (actors_[actor].helper_ != kMain) {
    EndThread(actor);
  } else if (actors_.size() < 6) {
    StartThread(actors_[actor].handle_);
  }
}

}  // namespace hshm::ipc::crash
