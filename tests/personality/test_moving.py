"""Linux programs in enclaves that move into other machines."""

from pathlib import Path

import pytest
from tests.support.binaries import debian_root
from tests.support.moving import stop_after
from tests.support.waiting import PATIENCE

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
