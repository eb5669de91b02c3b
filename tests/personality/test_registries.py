"""What runs: programs as registries have them, each doing some work; docs/linux-personality.md lists them."""

import json
import os
import re
from pathlib import Path

import pytest
from tests.personality.conftest import Ran, Runs
from tests.support.binaries import debian_root
from tests.support.debian import GROUPS, PACKAGES, WHEELS

PAGE = Path(__file__).parents[2] / "docs/linux-personality.md"
PARTS = {"python-testsuite"}
"""Groups of packages that are no program."""
SOAK = bool(os.environ.get("PENGLAI_SOAK"))


def version_of(name: str) -> str:
    """As its author counts them: without what Debian adds."""
    if name in WHEELS:
        return WHEELS[name][0]
    debians = PACKAGES[name][0].rpartition("/")[2].split("_")[1]
    return re.split(r"[-+](?!.*-)|\+|~", debians)[0]


MAIN = {"busybox": "busybox-static", "bash": "bash-static", "lua": "lua5.4", "python": "python3.13-minimal"}
"""The package with the program, where it has not the name of its group."""
MAIN["redis"] = "redis-server"


def test_the_page_lists_what_runs():
    listed = re.findall(r"^\| `([\w-]+)` ([\w.]+) \| (\w[^|]*) \| [^|]+ \|$", PAGE.read_text(), re.MULTILINE)
    programs = GROUPS.keys() - PARTS
    assert {name: version for name, version, _ in listed} == {
        name: version_of(MAIN.get(name, name)) for name in programs
    }
    assert {name for name, _, origin in listed if origin.startswith("PyPI")} == WHEELS.keys()


def ran(run: Runs, group: str, program: str, *args: str, memory: str = "128M", **files: Path) -> Ran:
    root = debian_root(group)
    return run(
        root / "usr/bin" / program,
        *args,
        root=root,
        files={f"/{name}": path for name, path in files.items()},
        memory=memory,
    )


@pytest.mark.binary("micropython")
def test_micropython(run: Runs):
    script = "import json, re; print(json.dumps([1, None]), re.match('a+', 'aab').group(0), 2**100 % 97)"
    assert ran(run, "micropython", "micropython", "-c", script) == Ran("[1, null] aa 16\n", 0)


@pytest.mark.binary("jq")
def test_jq(run: Runs, tmp_path: Path):
    (tmp_path / "data").write_text(json.dumps({"a": [{"n": 1, "s": "é"}, {"n": 2.5, "s": "x"}]}))
    query = '.a | map(select(.n > 1 or (.s | test("\\\\p{L}")))) | {total: (map(.n) | add), s: .[0].s}'
    done = ran(run, "jq", "jq", "-c", query, "/data", data=tmp_path / "data")
    assert done == Ran('{"total":3.5,"s":"é"}\n', 0)
    assert ran(run, "jq", "jq", ".a", "/none").status == 2


@pytest.mark.binary("ripgrep")
@pytest.mark.parametrize("how", [["-j1"], ["-j4"], ["-P"]])
def test_ripgrep(run: Runs, tmp_path: Path, how: list[str]):
    for number in range(40):
        path = tmp_path / f"d{number % 3}" / f"f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text("hay\n" * number + ("a needle\n" if number % 7 == 0 else ""))
    (tmp_path / ".hidden").write_text("needle\n")
    done = ran(run, "ripgrep", "rg", *how, "-n", "n.edle", "/tree", tree=tmp_path)
    assert done.status == 0
    found = [f"/tree/d{number % 3}/f{number}:{number + 1}:a needle" for number in range(0, 40, 7)]
    assert sorted(done.output.splitlines()) == sorted(found)


@pytest.mark.binary("age")
def test_age_which_is_gos(run: Runs, tmp_path: Path):
    key = ran(run, "age", "age-keygen").output
    found = re.search(r"AGE-SECRET-KEY-\w+", key)
    assert found
    (tmp_path / "key").write_text(found[0] + "\n")
    (tmp_path / "text").write_text("a secret\n")
    public = ran(run, "age", "age-keygen", "-y", "/key", key=tmp_path / "key").output.strip()
    assert public in key
    sealed = ran(run, "age", "age", "-a", "-r", public, "/text", text=tmp_path / "text")
    (tmp_path / "sealed").write_text(sealed.output)
    opened = ran(
        run, "age", "age", "-d", "-i", "/key", "/sealed", key=tmp_path / "key", sealed=tmp_path / "sealed"
    )
    assert opened == Ran("a secret\n", 0)


@pytest.mark.binary("esbuild")
def test_esbuild_bundles(run: Runs, tmp_path: Path):
    (tmp_path / "a.js").write_text('import {x} from "./b.js"; console.log(x + 1)\n')
    (tmp_path / "b.js").write_text("export const x = 41, y = 0;\n")
    done = ran(run, "esbuild", "esbuild", "/s/a.js", "--bundle", "--minify", memory="256M", s=tmp_path)
    assert done == Ran("(()=>{console.log(42);})();\n", 0)


SQL = """pragma journal_mode=wal;
create virtual table words using fts5(text);
insert into words values ('a needle'), ('hay');
select rowid, text from words where words match 'needle';
create table numbers(n integer primary key, t text);
with recursive some(i) as (select 1 union all select i + 1 from some where i < 3000)
insert into numbers select i, hex(i * i) from some;
begin; delete from numbers where n % 2; rollback;
select count(*), sum(n), max(t) from numbers;
.backup /tmp/copy
pragma wal_checkpoint(truncate);
vacuum;
pragma integrity_check;
.open /tmp/copy
select count(*) from numbers;
"""


@pytest.mark.binary("sqlite3")
def test_sqlite_in_a_file(run: Runs, tmp_path: Path):
    (tmp_path / "script").write_text(SQL)
    done = ran(run, "sqlite3", "sqlite3", "/tmp/base", ".read /script", script=tmp_path / "script")
    assert done == Ran("wal\n1|a needle\n3000|4501500|3939383536\n0|0|0\nok\n3000\n", 0)


@pytest.mark.binary("uv")
@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="18 MB to fetch: `make soak`")
def test_uv(run: Runs):
    done = ran(run, "uv", "uv", "--version", memory="512M")
    assert done == Ran(f"uv {WHEELS['uv'][0]} (riscv64gc-unknown-linux-gnu)\n", 0)


STOPPED = """
import hashlib, json, queue, threading
numbers, done = queue.Queue(), queue.Queue()
def work(name):
    for number in iter(numbers.get, None):
        done.put((number, hashlib.sha256(json.dumps([number, number / 7]).encode()).hexdigest()))
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[thread.start() for thread in threads]
[numbers.put(n) for n in range(2000)]
[numbers.put(None) for _ in threads]
[thread.join() for thread in threads]
found = sorted(done.get() for _ in range(2000))
print(len(found), hashlib.sha256(repr(found).encode()).hexdigest())
"""


@pytest.mark.binary("python")
@pytest.mark.parametrize(
    "stops",
    [40, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.skipif(not SOAK, reason="`make soak`")])],
)
def test_stops_change_nothing_of_cpython_and_its_threads(run: Runs, stops: int):
    root = debian_root("python")
    python = root / "usr/bin/python3.13"
    outputs = [
        run(python, "-c", STOPPED, root=root, memory="256M", stops=count).output for count in (0, stops)
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith("2000 ")


OWN_TESTS = """import sys, unittest
from test import support
support.has_fork_support = support.has_subprocess_support = False  # as CPython says of WebAssembly
left_out = sys.argv[2:]
tests = unittest.defaultTestLoader.loadTestsFromName("test." + sys.argv[1])
def each(suite):
    for one in suite:
        yield from each(one) if isinstance(one, unittest.TestSuite) else [one]
chosen = unittest.TestSuite(one for one in each(tests) if one.id().rpartition(".")[2] not in left_out)
result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(chosen)
print("passed", result.testsRun - len(result.skipped), "failed", len(result.failures) + len(result.errors))
"""

NEEDS_A_PROCESS = {"test_re": ["test_regression_gh94675"]}


@pytest.mark.binary("python")
@pytest.mark.binary("python-testsuite")
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("test_re", 155),
        ("test_json", 160),
        pytest.param("test_threading", 160, marks=pytest.mark.soak),
        pytest.param("test_queue", 50, marks=pytest.mark.soak),
        pytest.param("test_selectors", 60, marks=pytest.mark.soak),
        pytest.param("test_signal", 10, marks=pytest.mark.soak),
    ],
)
def test_cpythons_own_tests(run: Runs, tmp_path: Path, name: str, least: int):
    """least: tests that have to pass.  Those that need processes are left out, as on other such platforms."""
    if name not in ("test_re", "test_json") and not SOAK:
        pytest.skip("long: `make soak`")
    inside = "usr/lib/python3.13/test"
    own = debian_root("python-testsuite") / inside
    root = debian_root("python")
    (tmp_path / "run.py").write_text(OWN_TESTS)
    there = own / name if (own / name).is_dir() else own / f"{name}.py"
    extra = [there, own / "re_tests.py", own / "lock_tests.py"]
    done = run(
        root / "usr/bin/python3.13",
        "/run.py",
        name,
        *NEEDS_A_PROCESS.get(name, []),
        root=root,
        files={"/run.py": tmp_path / "run.py", **{f"/{inside}/{path.name}": path for path in extra}},
        memory="512M",
    )
    counts = re.search(r"^passed (\d+) failed 0$", done.output, re.MULTILINE)
    assert counts, done.output[-3000:]
    assert int(counts[1]) >= least
