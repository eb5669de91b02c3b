"""Linux programs in enclaves that move into other machines."""

import os
from pathlib import Path

import pytest
from tests.support.binaries import debian_root
from tests.support.linuxprograms import linux_program
from tests.support.moving import stop_after
from tests.support.waiting import PATIENCE, until

import penglai

PYTHON = """
import hashlib, json, math, threading
digest = hashlib.sha256()

def feed(count):
    for i in range(count):
        digest.update(json.dumps({"i": i, "x": math.sin(i) ** 2, "l": sorted([i * 79 % 97, i % 5])}).encode())

for part in range(8):
    thread = threading.Thread(target=feed, args=(50,))
    thread.start()
    thread.join()
    feed(50)
    print(part, digest.hexdigest(), flush=True)
"""


COPY = """#include <unistd.h>
int main(void)
{
    static char text[100];
    ssize_t size;
    while ((size = read(0, text, sizeof text)) > 0)
        if (write(1, text, (size_t)size) != size) return 1;
    return size < 0;
}
"""


@pytest.mark.parametrize("early", [False, True])
def test_who_waits_for_input_gets_it_where_it_goes_on(tmp_path: Path, early: bool):
    """Its question is asked again there.  early: there is input while it is stopped, before it moves."""
    state, (reader, writer) = tmp_path / "state", os.pipe()
    with penglai.Machine("64M", 1, state=state) as machine:
        enclave = machine.create(penglai.pack(linux_program(COPY)))
        enclave.start(stdin=penglai.Stdin(reader))
        os.write(writer, b"here ")
        machine.console.wait_for("here ", PATIENCE)
        until(lambda: enclave._task.in_callback)
        enclave.stop()
        if early:
            os.write(writer, b"early ")
            until(lambda: not enclave._task.in_callback)
        enclave.snapshot(tmp_path / "file")
    with penglai.Machine("64M", 1, state=state) as machine:
        enclave = machine.restore(tmp_path / "file", stdin=penglai.Stdin(reader))
        os.write(writer, b"there")
        os.close(writer)
        enclave.resume()
        assert enclave.wait(PATIENCE).value == 0
        assert machine.console.text == ("early there" if early else "there")
    os.close(reader)


@pytest.mark.binary("python")
def test_cpython_goes_on_in_another_machine(tmp_path: Path):
    root, state = debian_root("python"), tmp_path / "state"
    image = penglai.pack(root / "usr/bin/python3.13", ["-c", PYTHON], root=root)
    with penglai.Machine("256M", 1, state=state) as machine:
        expected = machine.create(image).run(PATIENCE)
        text = machine.console.text
        moving = machine.create(image)
        stop_after(machine, moving, 2)
        moving.snapshot(tmp_path / "0")
    written = "".join(text.splitlines(keepends=True)[:2])
    for number in range(3):
        with penglai.Machine("256M", 1, state=state) as machine:
            moving = machine.restore(tmp_path / str(number))
            stop_after(machine, moving, 2)
            moving.snapshot(tmp_path / str(number + 1))
            written += machine.console.text
    with penglai.Machine("256M", 1, state=state) as machine:
        moving = machine.restore(tmp_path / "3")
        moving.resume()
        assert moving.wait(PATIENCE) == expected
        assert written + machine.console.text == text
