"""What ordinary programs do beside their work is answered as Linux answers it: the texts are Linux's own."""

from pathlib import Path

import pytest
from tests.support.programs import compiled, compiled_sources
from tests.support.waiting import PATIENCE

import penglai

HABITS = Path(__file__).parent / "habits"
RAISED_USR1 = 128 + 10

RANDOM_DEVICE = """
#include <random>
int main() { std::random_device device; return device() == device() && device() == device(); }
"""


@pytest.mark.parametrize(("name", "value"), [("mappings", 0), ("signals", RAISED_USR1), ("system", 0)])
def test_it_does_what_linux_does(machine: penglai.Machine, name: str, value: int):
    program = compiled_sources({}, [HABITS / f"{name}.c"])
    assert machine.create(program).run(PATIENCE).value == value
    assert machine.console.text == (HABITS / f"{name}.txt").read_text()


def test_each_enclave_has_descriptors_of_its_own(machine: penglai.Machine):
    text = """#include <fcntl.h>
    int main(void)
    {
        open("/dev/null", O_RDWR);
        return open("/dev/zero", O_RDONLY);
    }
    """
    assert [machine.create(compiled(text)).run(PATIENCE).value for _ in range(2)] == [4, 4]


def test_descriptors_run_out(machine: penglai.Machine):
    text = """#include <errno.h>
    #include <fcntl.h>
    int main(void)
    {
        int count = 0;
        while (open("/dev/null", O_RDWR) >= 0)
            count++;
        return errno == EMFILE ? count : -1;
    }
    """
    assert machine.create(compiled(text)).run(PATIENCE).value == 61


def test_random_device_of_cxx(machine: penglai.Machine, tmp_path: Path):
    source = tmp_path / "random.cpp"
    source.write_text(RANDOM_DEVICE)
    penglai.build(source, tmp_path / "random")
    assert machine.create(tmp_path / "random").run(PATIENCE).value == 0


def test_the_stack_is_as_large_as_its_creator_said(machine: penglai.Machine):
    text = """#define _GNU_SOURCE 1
    #include <pthread.h>
    int main(void)
    {
        pthread_attr_t attributes;
        void *low;
        unsigned long size;
        pthread_getattr_np(pthread_self(), &attributes);
        pthread_attr_getstack(&attributes, &low, &size);
        return (int)(size >> 10);
    }
    """
    program = compiled(text, "-U_GNU_SOURCE")
    sizes = [machine.create(program, stack_size=size << 10).run(PATIENCE).value for size in (64, 256)]
    assert sizes == [64, 256]
