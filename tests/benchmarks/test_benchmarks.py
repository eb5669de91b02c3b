"""The benchmarks run, and say what they found.  Never how fast it was: times depend on the machine."""

import json
from pathlib import Path

import pytest
from benchmarks.__main__ import SUBJECTS, main
from benchmarks.measure import Bar, Effort, Report, Series
from benchmarks.output import load, save

SAMPLES = {
    "process": "process: SIGSTOP to stopped",
    "lifecycle": "create, 1 MiB image",
    "calls": "server call and return, 16 MiB",
    "compute": "branchy, beside bare Unicorn",
    "scale": "create, 100 live",
    "linux": "Linux: system call (getppid)",
}


@pytest.mark.parametrize(
    "subject", [pytest.param(name, marks=pytest.mark.linux if name == "linux" else ()) for name in SUBJECTS]
)
def test_a_subject_runs_and_its_figures_can_be_compared_with(
    subject: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    figures = tmp_path / "figures.json"
    report = main(["--quick", "--only", subject, "--json", str(figures)])
    names = [row.what for row in report.rows]
    assert len(set(names)) == len(names)
    assert not [row for row in report.rows if row.p50 < 0]
    shown = capsys.readouterr().out
    assert "load" in shown
    if subject == "linux" and report.notes:
        return  # no image
    assert SAMPLES[subject] in names
    assert load(figures).keys() == set(names)


def test_a_comparison_shows_the_ratio_to_earlier_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    old = tmp_path / "old.json"
    report = main(["--quick", "--only", "process"])
    halved = Report([row.__class__(row.what, row.p50 / 2) for row in report.rows[1:]])
    save(old, halved, {})
    capsys.readouterr()
    again = main(["--quick", "--only", "process", "--compare", str(old)])
    shown = capsys.readouterr().out
    assert "to before" in shown
    assert "new" in shown
    ratio = again.rows[1].p50 / halved.rows[0].p50
    assert f"{ratio:.2f}" in shown


def test_bars_are_kept_from_above_or_from_below(tmp_path: Path):
    assert Bar("a stop", 150, 150).kept
    assert not Bar("a stop", 150.1, 150).kept
    assert Bar("a speed", 0.9, 0.85, "x", least=True).kept
    assert not Bar("a speed", 0.8, 0.85, "x", least=True).kept
    report = Report()
    report.bar("a stop", 151, 150)
    save(tmp_path / "it.json", report, {"load": "0.0"})
    assert json.loads((tmp_path / "it.json").read_text())["bars"]["a stop"]["kept"] is False


def test_percentiles_are_times_that_were_measured():
    series = Series([1000 * time for time in range(100, 0, -1)])
    assert (series.p50, series.p99) == (51, 100)
    assert Series([7000]).p99 == 7
    assert Effort().rounds(10) == 10
    assert Effort(quick=True).rounds(10, 2) == 2
