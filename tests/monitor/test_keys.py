"""The machine's keys: reports that verify, and secrets that outlive a restart."""

import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

import penglai.monitor
from penglai.abi.errors import AttestationError, StorageError
from penglai.attestation.report import Report
from penglai.machine.store import Store
from penglai.monitor.keys import Keys, monitor_hash
from penglai.monitor.refusal import Refusal

MEASUREMENT, OTHER = bytes(range(32)), bytes(32)


def test_a_report_verifies_with_what_the_machine_says_of_itself():
    keys = Keys(Store(None))
    report = Report.from_bytes(keys.report(MEASUREMENT, 7))
    report.verify(measurement=MEASUREMENT, nonce=7, device_key=keys.device_key, monitor_hash=monitor_hash())


def test_the_device_is_the_same_after_a_restart_and_another_elsewhere(tmp_path: Path):
    first, second = Keys(Store(tmp_path / "a")), Keys(Store(tmp_path / "a"))
    elsewhere = Keys(Store(tmp_path / "b"))
    assert first.device_key == second.device_key != elsewhere.device_key
    report = Report.from_bytes(second.report(MEASUREMENT, 1))
    report.verify(measurement=MEASUREMENT, nonce=1, device_key=first.device_key)
    assert report.monitor_key == Report.from_bytes(first.report(MEASUREMENT, 1)).monitor_key


def test_what_is_said_of_the_monitor_is_made_once():
    keys = Keys(Store(None))
    reports = []
    threads = [threading.Thread(target=lambda: reports.append(keys.report(MEASUREMENT, 1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 8
    assert len({report[:160] for report in reports}) == 1


def test_a_derived_key_is_of_one_program_one_kind_one_device(tmp_path: Path):
    keys = Keys(Store(tmp_path / "a"))
    key = keys.derive(0, MEASUREMENT, 32)
    assert Keys(Store(tmp_path / "a")).derive(0, MEASUREMENT, 32) == key
    others = [keys.derive(1, MEASUREMENT, 32), keys.derive(0, OTHER, 32)]
    others.append(Keys(Store(tmp_path / "b")).derive(0, MEASUREMENT, 32))
    assert len({key, *others}) == 4


def test_a_key_of_a_snapshot_is_of_one_snapshot_one_device_one_monitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store, snapshot = Store(tmp_path / "a"), bytes(16)
    key = Keys(store).snapshot_key(snapshot)
    assert Keys(Store(tmp_path / "a")).snapshot_key(snapshot) == key
    others = [Keys(store).snapshot_key(bytes([1] * 16)), Keys(Store(tmp_path / "b")).snapshot_key(snapshot)]
    others.append(Keys(store, debuggable=True).snapshot_key(snapshot))
    monkeypatch.setattr("penglai.monitor.keys.monitor_hash", lambda: bytes(32))
    others.append(Keys(store).snapshot_key(snapshot))
    assert len({key, *others}) == 5


@given(size=st.integers(1, 8160))
def test_a_derived_key_has_the_size_that_is_asked_for(size: int):
    keys = Keys(Store(None))
    assert len(keys.derive(0, MEASUREMENT, size)) == size


@pytest.mark.parametrize(
    ("kind", "size"), [(2, 32), (-1, 32), (1 << 63, 32), (0, 0), (0, -1), (0, 8161), (1, 1 << 63)]
)
def test_a_key_that_cannot_be_is_refused(kind: int, size: int):
    with pytest.raises(Refusal, match="key of"):
        Keys(Store(None)).derive(kind, MEASUREMENT, size)


def test_a_key_of_a_wrong_size_is_not_used(tmp_path: Path):
    directory = tmp_path / "state"
    Store(directory).load_or_create("device-key", lambda: b"short")
    with pytest.raises(StorageError, match="device-key in the machine's storage has 5 bytes, not 32"):
        Keys(Store(directory)).device_key  # noqa: B018 - reading it is the test


def test_nothing_is_made_before_it_is_needed(tmp_path: Path):
    Keys(Store(tmp_path / "state"))
    assert not (tmp_path / "state").exists()


def test_keys_of_a_machine_that_can_be_debugged_are_others(tmp_path: Path):
    plain, debug = Keys(Store(tmp_path)), Keys(Store(tmp_path), debuggable=True)
    for kind in (0, 1):
        assert plain.derive(kind, MEASUREMENT, 32) != debug.derive(kind, MEASUREMENT, 32)
    again = Keys(Store(tmp_path), debuggable=True)
    assert again.derive(1, MEASUREMENT, 32) == debug.derive(1, MEASUREMENT, 32)
    assert plain.device_key == debug.device_key


def test_the_monitors_part_of_a_debug_report_is_not_the_other_ones(tmp_path: Path):
    """Of one device, in any order: no mixture of their parts verifies without a word about debugging."""
    plain, debug = (
        Keys(Store(tmp_path), debuggable=debuggable).report(MEASUREMENT, 7) for debuggable in (False, True)
    )
    assert Report(debug).debuggable
    assert not Report(plain).debuggable
    Report(plain).verify(measurement=MEASUREMENT, nonce=7, monitor_hash=monitor_hash())
    Report(debug).verify(measurement=MEASUREMENT, nonce=7, monitor_hash=monitor_hash(), allow_debug=True)
    for report in (debug, plain[:160] + debug[160:]):
        with pytest.raises(AttestationError):
            Report(report).verify(measurement=MEASUREMENT, nonce=7)
    unmarked = monitor_hash() + debug[32:]
    with pytest.raises(AttestationError, match="not signed by the device"):
        Report(unmarked).verify(measurement=MEASUREMENT, nonce=7)


def test_the_monitors_hash_is_of_every_byte_of_its_source():
    """By the definition, computed here: SM3 over length and content of each name and file."""
    root = Path(penglai.monitor.__file__).parents[1]
    digest = hashes.Hash(hashes.SM3())
    files = [path for room in ("attestation", "monitor") for path in (root / room).glob("*.py")]
    for path in sorted(files, key=lambda path: path.relative_to(root).as_posix()):
        for part in (path.relative_to(root).as_posix().encode(), path.read_bytes()):
            digest.update(len(part).to_bytes(8, "little") + part)
    assert monitor_hash() == digest.finalize()
