"""The benchmarks run, and say what they found.  Never how fast it was: times depend on the machine."""

import json
from pathlib import Path
from shutil import copytree
from xml.etree import ElementTree

import pytest
from benchmarks.__main__ import SUBJECTS, main
from benchmarks.measure import Bar, Effort, Report, Row, Series
from benchmarks.output import load, save
from benchmarks.plots import GROUPS, Point, draw, points
from benchmarks.programs import native
from benchmarks.scale import CALLS

from benchmarks import compute, coremark
from penglai.abi.errors import ToolchainError
from penglai.toolchain.places import package_dir

SAMPLES = {
    "process": "process: SIGSTOP to stopped",
    "lifecycle": "create, 1 MiB image",
    "calls": "server call and return, 16 MiB",
    "compute": "branchy, beside bare Unicorn",
    "snapshots": "restore of 64 MiB",
    "scale": "create, 100 live",
    "files": "file server: write 1 MiB in sequence",
    "linux": "Linux: system call (getppid)",
}


NEEDS = {"linux": [pytest.mark.linux], "files": [pytest.mark.linux, pytest.mark.services]}


@pytest.mark.parametrize("subject", [pytest.param(name, marks=NEEDS.get(name, ())) for name in SUBJECTS])
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


def test_coremark_runs_on_each_machine_and_is_in_no_bar():
    report = Report()
    compute.known_benchmark(report, Effort(quick=True))
    names = [row.what for row in report.rows]
    assert names[:3] == [
        "CoreMark: iterations in an enclave",
        "CoreMark, beside bare Unicorn",
        "CoreMark, beside native",
    ]
    assert not report.bars
    assert not report.notes


def test_coremark_is_left_out_with_a_note_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coremark, "PACKAGE", "no_such_package")
    report = Report()
    compute.known_benchmark(report, Effort(quick=True))
    assert not report.rows
    (note,) = report.notes
    assert "CoreMark: not measured" in note
    assert "pip install no_such_package" in note


def coremark_result(flags: tuple[str, ...], sources: tuple[Path, ...]) -> int:
    return compute.as_program([native("compute.c", *coremark.flags(1), *flags, more=sources)])[1]


def test_coremark_finds_a_wrong_result_of_its_own(tmp_path: Path):
    sources = {path.name: path for path in coremark.sources()}
    assert coremark_result((), tuple(sources.values())) in coremark.RIGHT
    text = sources["core_matrix.c"].read_text()
    broken = tmp_path / "core_matrix.c"
    broken.write_text(text.replace("ret+=10", "ret+=11"))
    assert broken.read_text() != text
    assert coremark_result((), tuple((sources | {broken.name: broken}).values())) not in coremark.RIGHT


def test_coremark_with_parameters_that_it_cannot_check_is_no_result():
    assert coremark_result(("-DTOTAL_DATA_SIZE=1500",), coremark.sources()) not in coremark.RIGHT


def test_only_eembc_s_coremark_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for part in (coremark.COREMARK, coremark.PATCH.parent):
        copytree(package_dir(coremark.PACKAGE) / part, tmp_path / part)
    monkeypatch.setattr(coremark, "package_dir", lambda _: tmp_path)
    assert len(coremark.sources()) == 6
    with (tmp_path / coremark.COREMARK / "core_util.c").open("a") as file:
        file.write("/* faster */")
    with pytest.raises(ToolchainError, match=r"core_util\.c"):
        coremark.sources()
    (tmp_path / coremark.COREMARK / coremark.CHANGED).write_text("int main(void) {}")
    with pytest.raises(ToolchainError, match=r"core_main\.c"):
        coremark.sources()
    (tmp_path / coremark.PATCH).unlink()
    with pytest.raises(ToolchainError, match=coremark.PATCH.name):
        coremark.sources()


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


def test_every_call_is_measured_against_the_number_of_enclaves_and_drawn(tmp_path: Path):
    figures = tmp_path / "figures.json"
    report = main(["--quick", "--only", "scale", "--json", str(figures), "--plot", str(tmp_path / "now")])
    assert {name for calls in GROUPS.values() for name in calls} == set(CALLS)
    for call in CALLS:
        assert [point.live for point in points(report.rows, call)] == [10, 100]
        assert f"{call} with 100 live, to 10" in [bar.what for bar in report.bars]
    again = main(["--load", str(figures), "--plot", str(tmp_path / "later")])
    assert again.rows == report.rows
    for name in GROUPS:
        drawn = (tmp_path / "now" / f"{name}.svg").read_bytes()
        assert drawn == (tmp_path / "later" / f"{name}.svg").read_bytes()


def test_a_plot_is_a_small_drawing_without_a_date(tmp_path: Path):
    counts = (10, 100, 1000, 10_000)
    rows = [Row(f"{call}, {live:,} live", 100.0, 300.0) for call in CALLS for live in counts]
    for path in draw(rows, tmp_path):
        assert path.stat().st_size < 80_000
        root = ElementTree.parse(path).getroot()
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        for call in GROUPS[path.stem]:
            assert call in texts
        for text in ("0", "10", "10,000", "µs", "live enclaves", "median", "99th percentile"):
            assert text in texts
        assert not any("date" in element.tag for element in root.iter())


def test_points_are_those_of_one_call():
    rows = [
        Row("stop, 1,000 live", 2.0, 3.0),
        Row("stop, 10 live", 1.0, 2.0),
        Row("nonstop, 10 live", 9.0, 9.0),
        Row("stop, 10 live, each", 9.0, 9.0),
        Row("stop, 5 live", 9.0),
    ]
    assert points(rows, "stop") == [Point(10, 1.0, 2.0), Point(1000, 2.0, 3.0)]


def test_nothing_is_drawn_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main(["--quick", "--only", "process", "--plot", str(tmp_path / "plots")])
    assert "nothing to plot" in capsys.readouterr().out
    assert not list((tmp_path / "plots").iterdir())


def test_percentiles_are_times_that_were_measured():
    series = Series([1000 * time for time in range(100, 0, -1)])
    assert (series.p50, series.p99) == (51, 100)
    assert Series([7000]).p99 == 7
    assert Effort().rounds(10) == 10
    assert Effort(quick=True).rounds(10, 2) == 2
