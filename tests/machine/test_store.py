"""The machine's storage: one secret for all, whole or not at all, for its owner alone."""

import hashlib
import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.waiting import PATIENCE

from penglai.abi.errors import StorageError
from penglai.machine.store import Store
from penglai.toolchain.places import STATE_VARIABLE, state_dir

RACER = """
import os, sys
from pathlib import Path
from penglai.machine.store import Store

store = Store(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(store.load_or_create("key", lambda: os.urandom(32)).hex(), flush=True)
"""

KILLED = """
import os, signal, sys
from pathlib import Path
from penglai.machine import store

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "make":
    store.Store(Path(sys.argv[1])).load_or_create("key", die)
else:
    setattr(os if sys.argv[2] == "fsync" else store.Path, sys.argv[2], die)
    store.Store(Path(sys.argv[1])).load_or_create("key", lambda: b"killed")
"""

KILLED_AT_LINE = """
import os, signal, sys
from pathlib import Path
from penglai.machine import store

left = int(sys.argv[2])

def trace(frame, event, _argument):
    global left
    if event == "line" and frame.f_code.co_filename == store.__file__:
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace

sys.settrace(trace)
store.Store(Path(sys.argv[1])).load_or_create("key", lambda: b"killed")
"""


def never() -> bytes:
    raise AssertionError("it is there already")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state"


def test_a_secret_is_made_once_and_outlives_the_store(directory: Path):
    assert Store(directory).load_or_create("key", lambda: b"secret") == b"secret"
    assert Store(directory).load_or_create("key", never) == b"secret"
    assert Store(directory).load_or_create("other", lambda: b"another") == b"another"


def test_nobody_else_may_read_it_whatever_the_umask(directory: Path):
    before = os.umask(0)
    try:
        Store(directory).load_or_create("key", lambda: b"secret")
    finally:
        os.umask(before)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "key").stat().st_mode & 0o777 == 0o600


def test_a_volatile_store_forgets():
    store = Store(None)
    assert store.load_or_create("key", lambda: b"secret") == b"secret"
    assert store.load_or_create("key", never) == b"secret"
    assert Store(None).load_or_create("key", lambda: b"another") == b"another"


def test_processes_that_boot_first_at_once_end_with_the_same_key(directory: Path):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    keys = {racer.communicate(timeout=PATIENCE)[0] for racer in racers}
    assert len(keys) == 1
    assert Store(directory).load_or_create("key", never).hex() == keys.pop().strip()


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "volatile"])
def test_threads_get_the_same_key(directory: Path, kept: bool):
    store = Store(directory if kept else None)
    gate, found = threading.Barrier(8), []

    def boot() -> None:
        gate.wait()
        found.append(store.load_or_create("key", lambda: os.urandom(32)))

    threads = [threading.Thread(target=boot) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("where", ["make", "fsync", "replace"])
def test_a_process_that_is_killed_while_it_makes_one_leaves_the_store_usable(directory: Path, where: str):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(directory), where], check=False, timeout=PATIENCE
    )
    assert done.returncode == -signal.SIGKILL
    assert Store(directory).load_or_create("key", lambda: b"second try") == b"second try"
    assert Store(directory).load_or_create("key", never) == b"second try"


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "volatile"])
def test_what_changes_is_changed_by_one_at_a_time(directory: Path, kept: bool):
    """Each in a store of its own, as other processes would, where it is kept."""
    common = Store(None)
    gate = threading.Barrier(8)

    def count() -> None:
        store = Store(directory) if kept else common
        gate.wait()
        for _ in range(5):
            store.change("count", b"0", lambda before: b"%d" % (int(before) + 1))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (Store(directory) if kept else common).load_or_create("count", never) == b"40"


def test_a_change_that_fails_leaves_everything_as_it_was(directory: Path):
    store = Store(directory)
    store.change("count", b"0", lambda _: b"1")
    files = {path.name: path.read_bytes() for path in directory.iterdir()}

    def refuse(before: bytes) -> bytes:
        raise KeyError(before)

    with pytest.raises(KeyError, match="1"):
        store.change("count", b"0", refuse)
    with pytest.raises(StorageError, match="of at most"):
        store.change("count", b"0", lambda _: bytes(1 << 17))
    store.change("count", b"0", bytes)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == files
    (directory / "count").unlink()
    with pytest.raises(StorageError, match="missing"):
        store.change("count", b"0", bytes)


@given(cut=st.integers(0, 53), flip=st.integers(0, 8 * 54 - 1), longer=st.binary(min_size=1, max_size=4))
def test_a_damaged_file_is_refused(tmp_path_factory: pytest.TempPathFactory, cut, flip, longer):
    directory = tmp_path_factory.mktemp("store") / "state"
    Store(directory).load_or_create("key", lambda: b"secret")
    path = directory / "key"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[flip // 8] ^= 1 << flip % 8
    for data in (whole[:cut], bytes(flipped), whole + longer, whole + bytes(1 << 20)):
        path.write_bytes(data)
        with pytest.raises(StorageError, match="key is damaged; bring it back from a copy, or remove"):
            Store(directory).load_or_create("key", never)


NAMES = ("device-key", "monitor-key", "device-secret", "device")


def device(directory: Path) -> Path:
    """A directory with three secrets, each its own name."""
    for name in NAMES[:3]:
        Store(directory).load_or_create(name, name.encode)
    return directory


def load_all(directory: Path) -> None:
    for name in NAMES[:3]:
        assert Store(directory).load_or_create(name, never) == name.encode()


@pytest.mark.parametrize("of", NAMES)
@pytest.mark.parametrize("under", NAMES)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["of this device", "of another device"])
def test_a_file_is_good_in_its_own_place_and_no_other(directory: Path, of: str, under: str, elsewhere: bool):
    device(directory)
    source = device(directory.with_name("elsewhere")) if elsewhere else directory
    content = (source / of).read_bytes()
    (directory / under).write_bytes(content)
    if of == under and not elsewhere:
        load_all(directory)
        return
    with pytest.raises(StorageError, match=r"damaged|another device's"):
        load_all(directory)


@pytest.mark.parametrize("gone", NAMES)
def test_a_file_that_is_missing_is_not_made_anew(directory: Path, gone: str):
    device(directory)
    (directory / gone).unlink()
    with pytest.raises(StorageError, match=r"is missing|no file device"):
        load_all(directory)
    assert sorted(path.name for path in directory.iterdir() if path.name[0] != ".") == sorted(
        {*NAMES} - {gone}
    )


def test_what_else_lies_there_does_not_matter(directory: Path):
    directory.mkdir(mode=0o700, parents=True)
    (directory / "disk.img").write_bytes(bytes(1 << 20))
    (directory / "notes").write_text("of the user's")
    load_all(device(directory))


def test_files_of_the_first_release_are_refused_with_the_reason(directory: Path):
    directory.mkdir(mode=0o700, parents=True)
    old = directory / "device-key"
    old.write_bytes(b"secret" + hashlib.sha256(b"secret").digest())
    old.chmod(0o600)
    for name in ("device-key", "device-secret"):
        with pytest.raises(
            StorageError, match=r"of release 0\.1\.0, which did not say whose .* move .* away"
        ):
            Store(directory).load_or_create(name, never)


def test_killed_anywhere_it_is_finished_or_was_never_there(tmp_path: Path):
    """The next process has the same secret if anybody can have seen it, and keeps what it has."""
    killed = True
    for line in itertools.count(1, 5):
        directory = tmp_path / str(line)
        child = subprocess.run(
            [sys.executable, "-c", KILLED_AT_LINE, str(directory), str(line)], check=False, timeout=PATIENCE
        )
        killed = child.returncode == -signal.SIGKILL
        assert killed or child.returncode == 0
        found = Store(directory).load_or_create("key", lambda: b"of the next one")
        assert found in ((b"killed", b"of the next one") if killed else (b"killed",))
        assert Store(directory).load_or_create("key", never) == found
        if not killed:
            break
    assert line > 50


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_file_that_others_may_use_is_refused(directory: Path, mode: int):
    Store(directory).load_or_create("key", lambda: b"secret")
    (directory / "key").chmod(mode)
    with pytest.raises(StorageError, match=rf"others may use it \(mode {mode:o}\).*chmod 600 .*key"):
        Store(directory).load_or_create("key", never)


def test_a_directory_that_others_may_enter_is_refused(directory: Path):
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    with pytest.raises(StorageError, match=r"others may use it.*chmod 700"):
        Store(directory).load_or_create("key", never)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("which", ["", "key"], ids=["directory", "file"])
def test_what_belongs_to_another_is_refused(directory: Path, which: str):
    Store(directory).load_or_create("key", lambda: b"secret")
    os.chown(directory / which, 4242, 4242)
    with pytest.raises(StorageError, match="belongs to user 4242, not to you; name a directory of your own"):
        Store(directory).load_or_create("key", never)


def test_what_is_no_file_is_refused(directory: Path, tmp_path: Path):
    Store(directory).load_or_create("other", lambda: b"secret")
    (directory / "key").symlink_to(directory / "other")
    with pytest.raises(StorageError):
        Store(directory).load_or_create("key", never)
    os.mkfifo(directory / "pipe", 0o600)
    with pytest.raises(StorageError, match="not a regular file"):
        Store(directory).load_or_create("pipe", never)


def test_a_place_that_cannot_be_is_said_so(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=f"cannot keep .* in .*file/state: .*set {STATE_VARIABLE} to"):
        Store(tmp_path / "file" / "state").load_or_create("key", never)


def test_the_default_place_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    assert state_dir() == tmp_path
    monkeypatch.delenv(STATE_VARIABLE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "x"))
    assert state_dir() == tmp_path / "x" / "penglai"
