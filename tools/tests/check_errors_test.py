"""check_errors finds each code, defect and status that docs/errors.md lacks or invents."""

import unittest

from made_up_tree import MadeUpTree

ERROR_H = '''
enum class ErrorCode : uint32_t {
  kNone = 0,
  kBadName,  // not kTooLong
  kSystem,
};
'''
DEFECTS_H = '''
/** Not NullThing(). */
[[noreturn]] HSHM_API HSHM_CROSS_FUN void DoubleFree(const char* operation,
                                                     uint64_t offset) noexcept;
'''
COMMANDS_H = '''
enum ExitStatus : int {
  kWell = 0,    // done
  kFailed = 2,  // not done
};
'''
MAN = '''.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 2
Not done.
.SH FILES
.B 7
'''
DOCS = '''# Errors
## Creating and attaching
| code | cause |
|---|---|
| BadName | a cause |
## Making things
| code | cause |
|---|---|
| System | a cause |
## When the system fails
| the system says | the library says |
|---|---|
| ENOENT | ENOSYS |
## Defects
| defect | cause |
|---|---|
| DoubleFree | a cause |
| CHECK failed | a cause |
## Exit statuses
| status | meaning |
|---|---|
| 0 | done |
| 2 | not done |
'''


class CheckErrorsTest(MadeUpTree):
    tool = 'check_errors'

    def setUp(self):
        super().setUp()
        self.write('include/hermes_shm/base/error.h', ERROR_H)
        self.write('include/hermes_shm/base/defects.h', DEFECTS_H)
        self.write('tools/hshm/commands.h', COMMANDS_H)
        self.write('tools/hshm/hshm.1.in', MAN)
        self.write('docs/errors.md', DOCS)

    def test_a_list_that_fits_is_clean(self):
        self.assert_clean()

    def test_what_the_code_has_and_the_list_lacks_is_missing(self):
        self.write('include/hermes_shm/base/error.h',
                   ERROR_H.replace('kSystem', 'kSystem,\n  kNew'))
        self.write('include/hermes_shm/base/defects.h',
                   DEFECTS_H + '[[noreturn]] HSHM_API void WrongSize(int);\n')
        self.write('tools/hshm/commands.h', COMMANDS_H.replace('kFailed', 'kOther = 1, kFailed'))
        self.assert_breaches('include/hermes_shm/base/defects.h:5: missing',
                             'include/hermes_shm/base/error.h:6: missing',
                             'tools/hshm/commands.h:4: missing')

    def test_what_the_list_has_and_the_code_lacks_is_unknown(self):
        self.write('docs/errors.md', DOCS.replace('| System |', '| Gone | a cause |\n| System |')
                   .replace('| DoubleFree |', '| TripleFree | a cause |\n| DoubleFree |'))
        self.assert_breaches('docs/errors.md:9: unknown', 'docs/errors.md:18: unknown')

    def test_a_status_stands_in_the_man_page_too(self):
        self.write('tools/hshm/hshm.1.in', MAN.replace('.B 2', '.B 3'))
        self.assert_breaches('docs/errors.md:23: unknown', 'tools/hshm/hshm.1.in:6: missing')

    def test_a_row_is_there_once_and_whole(self):
        self.write('docs/errors.md', DOCS.replace(
            '| BadName | a cause |', '| BadName | a cause |\n| BadName | again |')
            .replace('| 0 | done |', '| 0 | |'))
        self.assert_breaches('docs/errors.md:6: twice', 'docs/errors.md:23: empty-cell')


if __name__ == '__main__':
    unittest.main()
