#ifndef HSHM_SRC_MEMORY_BACKEND_PAGE_CHOICE_H_
#define HSHM_SRC_MEMORY_BACKEND_PAGE_CHOICE_H_

#include <cstdint>
#include <string>

#include "hermes_shm/memory/backend/page_report.h"
#include "hermes_shm/memory/backend/segment_options.h"

/** Which pages a region gets, of those that were asked for and those that there are. */
namespace hshm::ipc {

/**
 * For an open file, of which `name` tells in messages; is_memory_file: of CreateMemoryFile.
 * @throws Error kUnsupported when they are required and the system does not give them; as FileError
 */
PageReport ChooseFilePages(HugePages asked, int fd, bool is_memory_file, const std::string& name);

/** For a segment that another process made with transparent huge pages, or without.
 * @throws Error as FileError */
PageReport FoundFilePages(bool is_transparent, int fd, const std::string& name);

/** For private memory of this size. @throws Error kUnsupported as ChooseFilePages */
PageReport ChoosePrivatePages(HugePages asked, uint64_t size_bytes);

/**
 * Takes the first transparent huge page of a region: says whether there are any at all.
 * @throws Error kNoSpace when they are required and there was no free one
 */
void CheckFirstHugePage(HugePages asked, void* base, uint64_t page_bytes, const std::string& name);

}  // namespace hshm::ipc

#endif  // HSHM_SRC_MEMORY_BACKEND_PAGE_CHOICE_H_
