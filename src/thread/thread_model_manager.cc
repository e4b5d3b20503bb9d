#include "hermes_shm/thread/thread_model_manager.h"

namespace hshm::thread {

DefaultThreadModel* ProcessThreadModel() noexcept {
  static constinit DefaultThreadModel model;
  return &model;
}

}  // namespace hshm::thread
