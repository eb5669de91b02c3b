"""Whatever enclaves can make grow on a machine ends where its owner says."""

import logging

import pytest
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE

import penglai
from penglai import BadArgumentError, Limits
from penglai.abi.ecall import SECTOR_SIZE
from penglai.machine.ratelimit import ENCLAVES

MAPPED = """
unsigned long count = 0;
while (eapp_mmap(0, 4096) != (void *)-1)
    count++;
EAPP_RETURN(count);
"""
SECTORS = """
char sector[512] = {1};
unsigned long count = 0;
while (!eapp_write_sector(count, sector))
    count++;
EAPP_RETURN(count + !eapp_write_sector((1UL << 31) - 1, sector) + !eapp_write_sector(-1UL, sector));
"""
WRITES = 'for (int i = 0; i < 1000; i++) eapp_print("%64d\\n", i);'
ASKS = "for (int i = 0; i < 300; i++) eapp_mmap(0, 60UL << 20);"


def run(text: str, limits: Limits, **options: object) -> tuple[penglai.Machine, int | None]:
    with penglai.Machine("64M", 1, limits=limits, **options) as machine:  # type: ignore[arg-type]
        return machine, machine.create(eapp(text)).run(PATIENCE).value


def test_memory():
    _, few = run(MAPPED, Limits(memory="1M"))
    _, more = run(MAPPED, Limits(memory=2 << 20))
    assert few is not None
    assert more is not None
    assert 0 < few < 256
    assert more - few == 256


def test_regions():
    assert run(MAPPED, Limits(regions=17))[1] == 17


@pytest.mark.parametrize("kept", [True, False], ids=["file", "volatile"])
def test_the_disk(tmp_path, kept: bool):
    state = tmp_path / "state" if kept else None
    assert run(SECTORS, Limits(disk="1M"), state=state)[1] == (1 << 20) // SECTOR_SIZE
    if state is not None:
        assert (state / "disk.img").stat().st_size <= 1 << 20


def test_the_console():
    machine, _ = run(WRITES, Limits(console="8K"))
    kept = machine.console.getvalue()
    assert len(kept) <= 8 << 10
    assert kept.endswith(b" 999\n")
    assert machine.console.dropped == 65 * 1000 - len(kept)


def test_the_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    caplog.set_level(logging.WARNING)
    now = [1e6]
    monkeypatch.setattr(ENCLAVES, "_clock", lambda: now[0])
    with penglai.Machine("64M", 1, limits=Limits(log_lines=0)) as machine:
        assert machine.create(eapp(ASKS)).run(PATIENCE).reason is penglai.Reason.EXITED
    assert not [record for record in caplog.records if "asks for" in record.getMessage()]
    now[0] += 1
    with penglai.Machine("64M", 1) as machine:
        machine.create(eapp(ASKS)).run(PATIENCE)
    said = [record.getMessage() for record in caplog.records if "asks for" in record.getMessage()]
    assert len(said) == Limits().log_lines
    assert "more such messages before were left out" in said[0]


@pytest.mark.parametrize("limits", [{"memory": "much"}, {"disk": -1}, {"regions": -5}, {"console": "1.5M"}])
def test_what_is_no_limit_is_refused(limits: dict[str, object]):
    with pytest.raises(BadArgumentError):
        Limits(**limits)  # type: ignore[arg-type]


def test_a_create_beyond_the_limit_says_so():
    with (
        penglai.Machine("64M", 1, limits=Limits(memory="64K")) as machine,
        pytest.raises(penglai.AllocationError, match="allocation failed"),
    ):
        machine.create("hello-world")
