#ifndef HSHM_UNIT_TESTS_MISUSE_MISUSE_CASE_H_
#define HSHM_UNIT_TESTS_MISUSE_MISUSE_CASE_H_

/**
 * One misuse a file, each a function in a program that runs the one it is told to:
 *
 *     HSHM_MISUSE(freed_twice, "DoubleFree: Free") {
 *       ...                  what is right
 *       AtTheCall();         the next call is the one that must stop the program
 *       ...
 *     }
 *
 * The text is how the defect's line begins, behind "hshm: ". Names are unique: the files of a
 * folder are compiled as one.
 */
namespace hshm::misuse {

class Case {
 public:
  Case(const char* name, const char* defect, void (*run)());

  const char* name_;
  const char* defect_;
  void (*run_)();
  const Case* next_;
};

/** Says on standard error that everything was right up to here. */
void AtTheCall();
/** A value that the compiler knows nothing of. */
template <typename T>
T Opaque(T value) {
  asm volatile("" : "+r"(value) : : "memory");
  return value;
}

}  // namespace hshm::misuse

#define HSHM_MISUSE(name, defect)                                           \
  static void Run_##name();                                                 \
  static const ::hshm::misuse::Case case_##name{#name, defect, Run_##name}; \
  static void Run_##name()

#endif  // HSHM_UNIT_TESTS_MISUSE_MISUSE_CASE_H_
