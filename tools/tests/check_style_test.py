"""check_style finds each breach, at its line, and leaves sound code alone."""

import unittest

from made_up_tree import MadeUpTree

SOUND_HEADER = '''/** A header with all that the rules speak of, done right. */
#ifndef HSHM_SYNC_FLAG_H_
#define HSHM_SYNC_FLAG_H_

#include <atomic>

namespace hshm {
template <class T, class U = std::less<T>>
class Flag final : public Base<T> {
 public:
  explicit Flag(int a) noexcept : a_{a}, text_("a // b { /* ' ") {}
  void Set() noexcept { set_.store(true, std::memory_order_release); }  // pairs with IsSet
  bool IsSet() const noexcept {
    // Pairs with Set: sees all that was written before it.
    return set_.load(std::memory_order_acquire);
  }
  int Count() const { return count_.load(std::memory_order_relaxed); }  // relaxed: a statistic
  T Load(std::memory_order order = std::memory_order_seq_cst) const;

 private:
  uint64_t limit_ = 1'000'000;
};
}  // namespace hshm

#endif  // HSHM_SYNC_FLAG_H_
'''


def function(lines, head='int Long(int a)'):
    """A C++ function of that many lines."""
    return '\n'.join([head + ' {', *['  a += 1;'] * (lines - 2), '}', ''])


class CheckStyleTest(MadeUpTree):
    tool = 'check_style'

    def test_sound_code_passes(self):
        self.write('include/hermes_shm/sync/flag.h', SOUND_HEADER)
        self.write('src/sync/flag.cc', function(70))
        self.write('unit_tests/CMakeLists.txt', 'add_test(NAME a COMMAND a)\n')
        self.write('tools/run.py', 'def a():\n    return 1\n')
        self.write('README.md', 'A \t tab, and blanks \n')
        self.assert_clean()

    def test_a_file_of_501_lines(self):
        self.write('src/base/long.cc', 'int a;\n' * 500)
        self.assert_clean()
        self.write('src/base/long.cc', 'int a;\n' * 501)
        self.assert_breaches('src/base/long.cc:1: file-length')

    def test_a_function_of_71_lines(self):
        self.write('src/base/long.cc', 'int before;\n' + function(71))
        self.assert_breaches('src/base/long.cc:2: function-length')

    def test_long_functions_of_every_shape(self):
        for head in ('template <class T>\nrequires (sizeof(T) > 4)\nauto Foo<T>::Get(T t) -> T',
                     'Foo::Foo(int a) : a_{a}, b_(a)', 'Foo::~Foo() noexcept',
                     'bool operator==(const Foo& a, const Foo& b)',
                     'TEST_CASE("a name {", "[tag]")', 'struct Foo {\n  void Bar() const',
                     'namespace a::b {\nextern "C" void bar(void)'):
            with self.subTest(head=head):
                self.write('src/base/long.cc', function(75, head))
                status, lines = self.run_tool()
                self.assertEqual(status, 1)
                self.assertEqual(len(lines), 1)
                self.assertIn(': function-length: ', lines[0])

    def test_long_classes_namespaces_and_tables_are_no_functions(self):
        self.write('src/base/a.cc', 'namespace hshm {\n' + 'int a;\n' * 100 + '}\n')
        self.write('src/base/b.cc', 'class Foo : Bar<int()> {\n' + '  int a_;\n' * 100 + '};\n')
        self.write('src/base/c.cc', 'int table[] = {\n' + '  1,\n' * 100 + '};\n')
        self.assert_clean()

    def test_a_python_function_of_71_lines(self):
        body = 'def long():\n' + '    a = 1\n' * 70
        self.write('tools/a.py', body)
        self.write('tools/script', '#!/usr/bin/env python3\n' + body)
        self.assert_breaches('tools/a.py:1: function-length', 'tools/script:2: function-length')

    def test_lines(self):
        self.write('src/base/a.cc', '// ' + 'a' * 97 + '\n// ' + 'a' * 98 + '\n')
        self.write('src/base/b.cc', 'int a;\n\tint b;\n')
        self.write('src/base/c.cc', 'int a; \n')
        self.assert_breaches('src/base/a.cc:2: line-width', 'src/base/b.cc:2: tab',
                             'src/base/c.cc:1: trailing-blank')

    def test_unfinished_words(self):
        for word in ('TO' 'DO', 'FIX' 'ME', 'X' 'XX', 'HA' 'CK'):
            with self.subTest(word=word):
                self.write('src/base/a.cc', f'int a;\n// {word}: later\n')
                self.assert_breaches('src/base/a.cc:2: unfinished')
        self.write('src/base/a.cc', 'char name[] = "aX' 'XXXXX";\n')
        self.assert_clean()

    def test_file_names(self):
        self.write('src/base/BadName.cc', 'int a;\n')
        self.write('examples/a/bad-name.cc', 'int a;\n')
        self.assert_breaches('examples/a/bad-name.cc:1: file-name',
                             'src/base/BadName.cc:1: file-name')

    def test_header_guards(self):
        guard = '#ifndef {0}\n#define {0}\n#endif\n'
        self.write('include/hermes_shm/base/a.h', guard.format('HSHM_BASE_A_H_'))
        self.write('src/base/a.h', guard.format('HSHM_SRC_BASE_A_H_'))
        self.write('unit_tests/base/a.h', guard.format('HSHM_UNIT_TESTS_BASE_A_H_'))
        self.assert_clean()
        self.write('include/hermes_shm/base/b.h', guard.format('HSHM_BASE_A_H_'))
        self.write('src/base/c.h', '#pragma once\n')
        self.assert_breaches('include/hermes_shm/base/b.h:1: header-guard',
                             'src/base/c.h:1: header-guard')

    def test_platform_macros(self):
        text = '#ifdef __linux__\n#endif\n'
        self.write('src/platform/a_linux.cc', text)
        self.write('src/gpu/a.cc', text)
        self.write('src/base/b.cc', '// __linux__ in a comment\n')
        self.assert_clean()
        self.write('src/base/b.cc', text)
        self.assert_breaches('src/base/b.cc:1: platform-macro')

    def test_memory_orders_without_a_reason(self):
        for order, named in (('acquire', 'pairs with'), ('release', 'pairs with'),
                             ('acq_rel', 'pairs with'), ('seq_cst', 'pairs with'),
                             ('relaxed', 'relaxed')):
            with self.subTest(order=order):
                use = f'a.load(std::memory_order_{order});'
                self.write('src/sync/a.cc', f'int a;\n{use}\n')
                self.assert_breaches('src/sync/a.cc:2: memory-order')
                self.write('src/sync/a.cc', f'{use}  // {named} b\n')
                self.assert_clean()
                self.write('src/sync/a.cc', f'/*\n * {named} b\n */\n{use}\n')
                self.assert_clean()
                self.write('src/sync/a.cc', f'// {named} b\n' + 'int a;\n' * 6 + f'{use}\n')
                self.assert_breaches('src/sync/a.cc:8: memory-order')

    def test_one_reason_does_not_do_for_the_other(self):
        self.write('src/sync/a.cc', 'a.cas(std::memory_order_release,  // pairs with b\n'
                   '      std::memory_order_relaxed);\n')
        self.assert_breaches('src/sync/a.cc:2: memory-order')

    def test_soft_limits_show_only_when_asked_and_never_fail(self):
        self.write('src/base/a.cc', 'int a;\n' * 301)
        self.write('src/base/b.cc', function(41))
        self.assert_clean()
        status, lines = self.run_tool('--verbose')
        self.assertEqual(status, 0)
        self.assertEqual([line.split(': ')[1] for line in lines],
                         ['file-length', 'function-length'])

    def test_build_folders_are_left_out(self):
        self.write('examples/a/build/BadName.cc', '\t\n')
        self.assert_clean()


if __name__ == '__main__':
    unittest.main()
