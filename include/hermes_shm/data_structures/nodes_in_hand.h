#ifndef HSHM_DATA_STRUCTURES_NODES_IN_HAND_H_
#define HSHM_DATA_STRUCTURES_NODES_IN_HAND_H_

#include <cstdint>

#include "hermes_shm/base/check.h"
#include "hermes_shm/data_structures/shared_object.h"
#include "hermes_shm/sync/program_order.h"

namespace hshm::ipc {

/**
 * What the writer of a list or map is about to put in or to take out. Lies in the structure's
 * header.
 *
 * Invariant  While all words are null, the structure is whole and every node of it is in its chain.
 * Ordering   A node is noted before the chain changes and until everything else is done. The
 *            program's order is kept, so a death cuts it there.
 * ABA        None: one writer.
 * Crash      Insertion, cut before the chain's store: the node is not in the chain, and is freed.
 *            Erasure, cut after it: the same. Else the node is in the chain and stays. So one rule
 *            undoes or finishes every change: see Settle. Lost is a node between its allocation
 *            and its note, or between the note's end and its free.
 */
class NodesInHand {
 public:
  bool IsEmpty() const noexcept { return Get(0) == kNullOffset && Get(1) == kNullOffset; }
  void Note(uint32_t index, Offset node) noexcept {
    KeepProgramOrder();
    nodes_[index].store(node, std::memory_order_release);  // pairs with the take-over of the lock
    KeepProgramOrder();
  }
  /** After the change; the caller then frees what it took out. */
  void Clear() noexcept {
    Note(0, kNullOffset);
    Note(1, kNullOffset);
  }

  /**
   * What a dead writer left: rebuilds what hangs on the chain, and frees each noted node that is
   * not in it. May be cut and repeated.
   */
  template <typename Links, typename AllocT>
  void Settle(Links& links, AllocT& alloc, const MemContext& ctx) noexcept {
    if (IsEmpty()) return;
    char* const base = alloc.GetRegion().base_;
    links.Rebuild(base);
    for (const uint32_t index : {0U, 1U}) {
      const Offset node = Get(index);
      if (node == kNullOffset) continue;
      const bool is_out = !links.IsInChain(base, node);
      Note(index, kNullOffset);  // first, so that a death does not free it twice
      if (is_out) alloc.FreeOffsetNoNullCheck(ctx, OffsetPtr<>(node));
    }
  }

 private:
  Offset Get(uint32_t index) const noexcept {
    return nodes_[index].load(std::memory_order_relaxed);  // relaxed: the one writer, or the lock
  }

  Atomic<uint64_t> nodes_[2];  // [lock:structure] the second one: what a replacement takes out
};
static_assert(sizeof(NodesInHand) == 16);

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_NODES_IN_HAND_H_
