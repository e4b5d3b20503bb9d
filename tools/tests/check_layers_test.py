"""check_layers finds each include that does not point down."""

import unittest

from made_up_tree import MadeUpTree

BOTTOM_UP = ('base', 'platform', 'sync', 'intrusive', 'memory/backend', 'memory/allocator',
             'data_structures', 'mpi')


def header(layer):
    return f'include/hermes_shm/{layer}/a.h'


def include(path):
    return f'#include "hermes_shm/{path}"\n'


class CheckLayersTest(MadeUpTree):
    tool = 'check_layers'

    def test_every_layer_may_include_every_lower_one_and_itself(self):
        for height, layer in enumerate(BOTTOM_UP):
            below = ''.join(include(f'{lower}/a.h') for lower in BOTTOM_UP[:height + 1])
            self.write(header(layer), below)
            self.write(f'src/{layer}/a.cc', below)
        self.assert_clean()

    def test_no_layer_may_include_a_higher_one(self):
        for height, layer in enumerate(BOTTOM_UP):
            for higher in BOTTOM_UP[height + 1:]:
                with self.subTest(layer=layer, higher=higher):
                    self.write(header(layer), '#include <vector>\n' + include(f'{higher}/a.h'))
                    self.assert_breaches(f'{header(layer)}:2: layer')
            self.write(header(layer), '')

    def test_siblings_may_not_include_each_other(self):
        for one, other in (('platform', 'gpu'), ('sync', 'thread')):
            for layer, target in ((one, other), (other, one)):
                with self.subTest(layer=layer):
                    self.write(f'src/{layer}/a.cc', include(f'{target}/a.h'))
                    self.assert_breaches(f'src/{layer}/a.cc:1: layer')
                    self.write(f'src/{layer}/a.cc', '')

    def test_the_emulated_device_alone_may_use_platform(self):
        self.write('src/gpu/emulated.cc', include('platform/a.h'))
        self.assert_clean()
        self.write('src/gpu/runtime.cc', include('platform/a.h'))
        self.assert_breaches('src/gpu/runtime.cc:1: layer')

    def test_the_memory_manager_lies_above_the_data_structures_and_below_mpi(self):
        self.write('include/hermes_shm/memory/memory_manager.h', include('data_structures/a.h'))
        self.write(header('mpi'), include('memory/memory_manager.h'))
        self.assert_clean()
        self.write(header('data_structures'), include('memory/memory_manager.h'))
        self.assert_breaches(f'{header("data_structures")}:1: layer')

    def test_angle_brackets_and_private_headers_count_too(self):
        self.write('src/base/a.cc', '#include <hermes_shm/sync/a.h>\n')
        self.write('src/sync/private.h', '')
        self.write('src/platform/a.cc', '#include "sync/private.h"\n')
        self.write('src/thread/a.cc', '  #  include "../sync/private.h"\n')
        self.assert_breaches('src/base/a.cc:1: layer', 'src/platform/a.cc:1: layer',
                             'src/thread/a.cc:1: layer')

    def test_an_include_in_a_comment_is_none(self):
        include_line = include('sync/a.h')
        self.write('src/base/a.cc', f'// {include_line}/*\n{include_line}*/\n')
        self.assert_clean()

    def test_files_outside_every_layer(self):
        self.write('include/hermes_shm/stray.h', '')
        self.write('include/hermes_shm/memory/stray.h', '')
        self.write('src/base/a.cc', include('stray.h'))
        self.assert_breaches('include/hermes_shm/memory/stray.h:1: no-layer',
                             'include/hermes_shm/stray.h:1: no-layer',
                             'src/base/a.cc:1: no-layer')

    def test_mpi_is_for_the_folder_mpi_alone(self):
        self.write(header('mpi'), '#include <mpi.h>\n')
        self.assert_clean()
        self.write('src/memory/memory_manager.cc', '#include <mpi.h>\n')
        self.assert_breaches('src/memory/memory_manager.cc:1: mpi')


if __name__ == '__main__':
    unittest.main()
