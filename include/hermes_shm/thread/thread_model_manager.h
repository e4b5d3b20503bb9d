#ifndef HSHM_THREAD_THREAD_MODEL_MANAGER_H_
#define HSHM_THREAD_THREAD_MODEL_MANAGER_H_

#include "hermes_shm/base/macros.h"
#include "hermes_shm/thread/pthread.h"

namespace hshm::thread {

/** The model that allocators use where none is named. */
using DefaultThreadModel = Pthread;

/** The one instance of this process, at hand before main and after it. */
HSHM_API DefaultThreadModel* ProcessThreadModel() noexcept;

}  // namespace hshm::thread

#define HSHM_THREAD_MODEL (::hshm::thread::ProcessThreadModel())

#endif  // HSHM_THREAD_THREAD_MODEL_MANAGER_H_
