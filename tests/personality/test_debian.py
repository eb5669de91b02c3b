"""Programs as Debian has built them, unchanged, for riscv64."""

import json
from pathlib import Path

import pexpect
import pytest
from tests.personality.conftest import Runs
from tests.personality.trees import make_tree
from tests.support.binaries import debian_root
from tests.support.person import PENGLAI
from tests.support.waiting import PATIENCE

import penglai

RECORDED = json.loads((Path(__file__).parent / "busybox.json").read_text())
"""Command lines of BusyBox, and what they give under qemu-riscv64 on Linux with the same files."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree"))


@pytest.mark.binary("busybox")
@pytest.mark.parametrize("record", RECORDED, ids=lambda record: " ".join(record["words"])[:40])
def test_busybox_does_as_on_linux(run: Runs, tree: Path, record: dict[str, object]):
    words = record["words"]
    assert isinstance(words, list)
    ran = run(debian_root("busybox") / "usr/bin/busybox", *words, root=tree)
    assert (ran.output, ran.status) == (record["output"], record["status"])


@pytest.mark.binary("bash")
def test_bash(run: Runs):
    script = """for i in {1..5}; do printf '%d ' $((i * i)); done; a=(x y z); echo ${a[1]} ${#a[@]}
    [[ abc =~ b ]] && echo match; declare -A m=([k]=v); echo ${m[k]} ${BASH_VERSION%%.*}
    while read -r line; do echo "<$line>"; done < /data; exit 4"""
    ran = run(
        debian_root("bash") / "usr/bin/bash-static",
        "-c",
        script,
        files={"/data": Path(__file__).parent / "lines"},
    )
    assert ran.output == "1 4 9 16 25 y 3\nmatch\nv 5\n<one>\n<two>\n"
    assert ran.status == 4


@pytest.mark.binary("lua")
def test_lua_with_its_libraries(run: Runs):
    root = debian_root("lua")
    script = "local t = {} for i = 1, 1000 do t[i] = i * i end print(#t, t[10], math.pi, os.getenv('HOME'))"
    ran = run(root / "usr/bin/lua5.4", "-e", script, root=root)
    assert (ran.output, ran.status) == ("1000\t100\t3.1415926535898\t/\n", 0)


@pytest.mark.binary("quickjs")
def test_quickjs_with_its_libraries(run: Runs):
    root = debian_root("quickjs")
    ran = run(
        root / "usr/bin/qjs",
        "-e",
        "console.log([1, 2].map(x => x / 4), JSON.stringify({a: 1n > 0}))",
        root=root,
    )
    assert (ran.output, ran.status) == ('0.25,0.5 {"a":true}\n', 0)


PYTHON = """
import json, os, queue, re, signal, sqlite3, sys, tempfile, threading, time
numbers = queue.Queue()
threads = [threading.Thread(target=lambda n=n: [numbers.put(n) for _ in range(50)]) for n in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(numbers.qsize(), json.dumps({"a": [1.5, None]}), re.sub("a+", "b", "caat"))
signal.signal(signal.SIGALRM, lambda number, frame: hits.append(number))
hits = []
signal.setitimer(signal.ITIMER_REAL, 0.02)
while not hits: pass
print("alarm", hits)
with tempfile.TemporaryDirectory() as directory:
    base = sqlite3.connect(os.path.join(directory, "base"))
    base.execute("pragma journal_mode=wal")
    base.execute("create table t(a)")
    base.executemany("insert into t values(?)", [(n,) for n in range(100)])
    base.commit()
    print(base.execute("select sum(a) from t").fetchone(), sorted(os.listdir(directory)))
print(threading.Event().wait(0.01), sys.argv[1:], sys.version_info[:2], os.getpid())
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.binary("busybox")
def test_a_shell_at_a_terminal(tmp_path: Path):
    program = debian_root("busybox") / "usr/bin/busybox"
    words = ["run", "--linux", str(program), "--mount", f"{tmp_path}:/data", "--", "sh"]
    child = pexpect.spawn(str(PENGLAI), words, timeout=PATIENCE, encoding="utf-8")
    child.expect("# ")
    child.sendline("echo $((6 * 7)); echo kept > /data/file")
    child.expect("\r\n42\r\n")
    child.expect("# ")
    child.send("echo wrong\x15exit 3\r")  # Ctrl-U, which the shell's own editing serves
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 3
    assert (tmp_path / "file").read_text() == "kept\n"


WEB = """
import http.server, sys, threading, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"path " + self.path.encode())
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for line in sys.stdin:
    print(urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/{line.strip()}").read().decode())
server.shutdown()
"""


@pytest.mark.binary("python")
def test_a_web_server_and_its_client_in_one_enclave(tmp_path: Path):
    root = debian_root("python")
    (tmp_path / "web.py").write_text(WEB)
    image = penglai.pack(
        root / "usr/bin/python3.13", ["/web.py"], root=root, files={"/web.py": tmp_path / "web.py"}
    )
    with penglai.Machine("256M", 1, state=None) as machine:
        enclave = machine.create(image)
        assert enclave.run(PATIENCE, stdin=penglai.Stdin("one\ntwo\n")).value == 0
    assert enclave.output.getvalue() == b"path /one\npath /two\n"


@pytest.mark.binary("python")
def test_cpython_with_threads_signals_files_and_a_database(run: Runs, tmp_path: Path):
    root = debian_root("python")
    script = tmp_path / "script.py"
    script.write_text(PYTHON)
    python = root / "usr/bin/python3.13"
    ran = run(python, "/script.py", "x", root=root, files={"/script.py": script}, memory="256M")
    assert ran.output == (
        "200 {\"a\": [1.5, null]} cbt\nalarm [14]\n(4950,) ['base', 'base-shm', 'base-wal']\n"
        "False ['x'] (3, 13) 1\n"
    )
    assert ran.status == 128 + 15
