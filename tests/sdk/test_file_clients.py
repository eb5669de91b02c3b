"""-lfiles and -lpsa: what the C library has over the servers of files and of protected storage."""

import struct
from pathlib import Path

import pytest
from tests.support.fileserver import REGION, Files, Puppet, Recorder, Server, use
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE

import penglai
from penglai import Reason, Result

pytestmark = pytest.mark.services

FINE = Result(Reason.EXITED, 0)


@pytest.fixture
def server(machine: penglai.Machine) -> Server:
    use(machine, Recorder())
    return Server(machine)


def run(machine: penglai.Machine, program: Path) -> Result:
    return machine.create(program).run(PATIENCE)


def test_files_of_the_c_library(machine: penglai.Machine, server: Server):
    assert run(machine, compiled("files-client", "-lfiles")) == FINE


def test_files_of_a_portable_program(tmp_path: Path):
    source = Path(__file__).parents[1] / "programs" / "files-client.c"
    program = penglai.build(source, tmp_path / "client", ["-lfiles"], profile="tvm")
    with penglai.Machine("64M", 1, state=None, profile="tvm") as machine:
        Server(machine)
        assert run(machine, program) == FINE


def test_files_of_a_server_that_knows_the_originals_operations_alone(machine: penglai.Machine):
    machine.create(compiled("old-files"), name="filesystem", kind="server")
    assert run(machine, compiled("files-client", "-lfiles", "-DORIGINAL")) == FINE


OPENS = """#include <errno.h>
#include <stdio.h>
#include "eapp.h"
int EAPP_ENTRY main(void) { EAPP_RETURN(fopen("/x", "w") ? 1 : errno); }
"""
ENOENT = 2


def test_a_program_that_does_not_ask_for_files_has_none(machine: penglai.Machine, server: Server):
    assert run(machine, compiled(OPENS)).value == ENOENT
    assert run(machine, compiled(OPENS, "-lfiles")).value == 1


def test_without_a_server_there_are_no_files(machine: penglai.Machine):
    assert run(machine, compiled(OPENS, "-lfiles")).value == ENOENT


def test_a_program_says_which_server_it_means(machine: penglai.Machine, server: Server):
    bytes_of = ",".join(map(str, penglai.measure("filesystem", kind="server")))
    text = """#include <stdio.h>
#include "eapp.h"
#include "files.h"
int EAPP_ENTRY main(void)
{
    const unsigned char known[32] = {KNOWN};
    if (eapp_use_files(known))
        EAPP_RETURN(fopen("/x", "w") ? 1 : 2);
    EAPP_RETURN(fopen("/x", "w") ? 3 : 4);
}
"""
    assert run(machine, compiled(text.replace("KNOWN", bytes_of), "-lfiles")).value == 3
    assert run(machine, compiled(text.replace("KNOWN", "1"), "-lfiles")).value == 2


LIES = """
    unsigned long values[] = {{1UL << 40, -1UL, 5000, -5UL, 1UL << 63}};
    static int turn;
    if (args[10] == 32)
        __builtin_memcpy((char *)args[11], "penglai files 1", 16);
    else if (args[11])
        for (unsigned long i = 0; i < args[12]; i++)
            ((char *)args[11])[i] = (char)(i * 31 + turn);
    struct call_enclave_arg_t answer = {{.resp_val = args[10] < {first} ? 3 : values[turn++ % 5]}};
    SERVER_RETURN(&answer);
"""


@pytest.mark.parametrize("first", [0, 2, 34])
def test_a_server_that_lies_does_no_harm_to_memory(machine: penglai.Machine, first: int):
    """Results of calls are wrong then; the program goes on."""
    machine.create(eapp(LIES.format(first=first)), name="filesystem", kind="server")
    text = """#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "eapp.h"
int EAPP_ENTRY main(void)
{
    struct { char before[64], data[100], after[64]; } block = {{0}, {0}, {0}};
    struct stat about;
    for (int turn = 0; turn < 20; turn++) {
        int fd = open("/x", O_RDWR);
        read(fd, block.data, sizeof block.data);
        write(fd, block.data, sizeof block.data);
        lseek(fd, 1, SEEK_END);
        stat("/x", &about);
        DIR *directory = opendir("/");
        for (int i = 0; directory && i < 50 && readdir(directory); i++)
            ;
        if (directory)
            closedir(directory);
        close(fd);
    }
    for (int i = 0; i < 64; i++)
        if (block.before[i] || block.after[i])
            EAPP_RETURN(1);
    EAPP_RETURN(0);
}
"""
    assert run(machine, compiled(text, "-lfiles")) == FINE


def test_protected_storage(machine: penglai.Machine, server: Server):
    machine.create("psa_server", name="psa_server", kind="server")
    assert run(machine, compiled("psa-client", "-lpsa")) == FINE


def test_protected_storage_outlives_its_server(machine: penglai.Machine, server: Server):
    keeps = machine.create("psa_server", name="psa_server", kind="server")
    puppet = Puppet(machine, server="psa_server")
    assert puppet.call(0, objects(struct.pack("<Q", 7), b"kept", bytes(4))).value == 0
    keeps.destroy()
    server.restart()
    machine.create("psa_server", name="psa_server", kind="server")
    answer = puppet.call(1, objects(struct.pack("<Q", 7), bytes(8), out=100))
    assert answer.value == 0
    assert answer.data[40 + 48 + 16 :].startswith(b"kept")


def test_objects_that_the_file_server_has_changed(machine: penglai.Machine, server: Server):
    machine.create("psa_server", name="psa_server", kind="server")
    puppet, files = Puppet(machine, server="psa_server"), Files(machine)
    for uid in (7, 8):
        puppet.call(0, objects(struct.pack("<Q", uid), b"secret", bytes(4)))
    seven, eight = (files.content(f"/psa/{uid:016x}") for uid in (7, 8))
    assert isinstance(seven, bytes)
    assert isinstance(eight, bytes)
    assert b"secret" not in seven
    wanted = objects(struct.pack("<Q", 7), bytes(8), out=100)
    for wrong in (eight, seven[:-1], seven[:20], b"", bytes([seven[0] ^ 1]) + seven[1:]):
        files.put("/psa/0000000000000007", wrong)
        assert puppet.call(1, wanted).value == -132
    files.put("/psa/0000000000000007", seven)
    assert puppet.call(1, wanted).value == 0


@pytest.mark.parametrize("where", [8, 16, 24, 32, 40, 48])
@pytest.mark.parametrize("value", [0, 1, 41, 4090, 4096, 1 << 32, (1 << 64) - 1])
def test_tables_that_lead_out_of_the_region(machine: penglai.Machine, server: Server, where: int, value: int):
    machine.create("psa_server", name="psa_server", kind="server")
    puppet = Puppet(machine, server="psa_server")
    request = bytearray(objects(struct.pack("<Q", 7), bytes(8), out=100))
    request[where : where + 8] = value.to_bytes(8, "little")
    status = puppet.call(1, bytes(request)).value
    assert status < 0 or value < REGION
    assert puppet.call(0, objects(struct.pack("<Q", 7), b"fine", bytes(4))).value == 0


def objects(*ins: bytes, out: int | None = None) -> bytes:
    """A request of protected storage."""
    count, outs = len(ins), int(out is not None)
    at = 40 + 16 * (count + outs)
    table = b""
    for each in ins:
        table += struct.pack("<QQ", at, len(each))
        at += len(each)
    table += struct.pack("<QQ", at, out) if out is not None else b""
    return struct.pack("<5Q", 0, 40, count, 40 + 16 * count, outs) + table + b"".join(ins)
