#ifndef HSHM_UNIT_TESTS_GPU_CASES_H_
#define HSHM_UNIT_TESTS_GPU_CASES_H_

/** The parts of gpu_*_test: each runs kernels and looks at what they did. Catch2 is no code for the
 * compilers of kernels, so this is all the frame there is. */
namespace hshm::test {

/** Prints what is wrong and counts it, unless `holds`. */
void Expect(bool holds, const char* claim);

/** Atomic in kernels: sums, and exchanges, by many threads at once. */
void AtomicCases();
/** StackAllocator and BuddyAllocator: made and checked by the host, used by kernels. */
void AllocatorCases();
/** Ring buffers: kernel to kernel, kernel to host, host to kernel. */
void RingCases();
/** The program of docs/kernels.md. */
void DocumentedCase();

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_GPU_CASES_H_
