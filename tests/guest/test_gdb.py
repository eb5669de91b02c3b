"""Linux's kernel in gdb, as a user starts both."""

import re
import subprocess

import pytest
from tests.support.debugger import gdb_directory
from tests.support.person import PENGLAI
from tests.support.waiting import PATIENCE


@pytest.mark.gdb
@pytest.mark.slow
def test_gdb_stops_linux_where_the_module_is_loaded(booting: dict[str, str]):
    """As the guide has it: the names, a function of the kernel's, and on to the end."""
    command = [PENGLAI, "boot", "--gdb", "--run", "sh install.sh; echo loaded"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=booting
    ) as boot:
        assert boot.stderr is not None
        said = [boot.stderr.readline() for _ in range(2)]
        commands = [re.search("in gdb: (.*)", line)[1] for line in said]  # type: ignore[index]
        commands += ["break do_init_module", "continue", "bt", "stepi", "stepi", "p $pc", "detach"]
        words = [word for each in commands for word in ("-ex", each)]
        gdb = subprocess.run(
            ["gdb-multiarch", "-quiet", "-batch", *words],
            capture_output=True,
            text=True,
            env={**booting, "PATH": f"{gdb_directory()}:{booting['PATH']}"},
            timeout=PATIENCE,
            check=False,
        )
        output, _ = boot.communicate(timeout=PATIENCE)
    assert boot.returncode == 0
    assert output.endswith("loaded\n")
    assert re.search(r"Breakpoint 1, 0x\w+ in do_init_module", gdb.stdout)
    assert re.search(r"#1 .* in __do_sys_finit_module", gdb.stdout)
    assert "<do_init_module+4>" in gdb.stdout
