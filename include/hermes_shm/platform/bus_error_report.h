#ifndef HSHM_PLATFORM_BUS_ERROR_REPORT_H_
#define HSHM_PLATFORM_BUS_ERROR_REPORT_H_

#include "hermes_shm/base/macros.h"

namespace hshm {

/**
 * From now on this process says on standard error which file it died of, when it dies of SIGBUS in
 * a shared mapping: another process has made the file shorter, or the system has no page for it.
 * The library itself never touches memory that it has not taken, and nobody can cut a segment
 * without a name (ipc::Naming::kUnnamed); a named one can be cut by any process of its user.
 *
 * For the application to ask for, because the handler of a signal is the whole process's: call it
 * once, from any thread, behind the installation of other handlers of SIGBUS. It explains, then
 * passes the signal on to the handler that was there, or lets the process die of it as before, core
 * dump included. Its handler calls only async-signal-safe functions and runs on the alternate
 * stack where the thread has one. Repeatable: later calls do nothing.
 *
 * @return 0, or the errno of sigaction(2); ENOSYS where the system has no such signals
 */
HSHM_API int ReportBusErrors() noexcept;

}  // namespace hshm

#endif  // HSHM_PLATFORM_BUS_ERROR_REPORT_H_
