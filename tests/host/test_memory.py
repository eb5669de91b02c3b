"""Shared memory, relay pages, sectors and attestation through the public door."""

import numpy as np
import pytest
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE, until

import penglai
from penglai import Reason

PAGE = 4096
SUM = """
unsigned char *bytes = (unsigned char *)args[10];
unsigned long sum = 0;
for (unsigned long i = 0; i < args[11]; i++)
    sum += bytes[i];
bytes[0] = 200;
EAPP_RETURN(sum);
"""


def test_shared_memory_is_a_buffer_for_numpy_and_memoryview(machine: penglai.Machine):
    shared = machine.shared_memory(2 * PAGE)
    array = np.frombuffer(shared, dtype=np.uint8)
    array[:] = 3
    enclave = machine.create(eapp(SUM), shm=shared)
    assert enclave.run(PATIENCE).value == 3 * 2 * PAGE
    assert (shared[0], memoryview(shared)[0], array[0]) == (200, 200, 200)
    other = machine.create(eapp(SUM), shm=shared, shm_offset=PAGE)
    assert other.run(PATIENCE).value == 3 * PAGE
    assert array[PAGE] == 200


def test_several_enclaves_share_one_memory(machine: penglai.Machine):
    shared = machine.shared_memory(PAGE)
    body = (
        "volatile unsigned long *word = (void *)args[10]; while (word[0] != 5) ; word[get_enclave_id()] = 1;"
    )
    enclaves = [machine.create(eapp(body), shm=shared) for _ in range(3)]
    runs = [enclave.start() for enclave in enclaves]
    shared[0:8] = (5).to_bytes(8, "little")
    for run in runs:
        run.result(PATIENCE)
    words = np.frombuffer(shared, dtype=np.uint64)
    assert [int(words[enclave.eid]) for enclave in enclaves] == [1, 1, 1]


def test_a_server_whose_name_is_taken_keeps_no_hold_of_shared_memory(machine: penglai.Machine):
    machine.create("server", kind="server", name="s")
    free, shared = machine._driver.free_bytes, machine.shared_memory(5 * PAGE)
    with pytest.raises(penglai.ExistsError):
        machine.create("server", kind="server", name="s", shm=shared)
    machine.free(shared)
    assert machine._driver.free_bytes == free


def test_an_instance_that_is_refused_keeps_no_hold_of_shared_memory(machine: penglai.Machine):
    """Its relay pages are another enclave's by then."""
    other = machine.create("loop")
    free, shared, relay = machine._driver.free_bytes, machine.shared_memory(5 * PAGE), machine.relay_pages(1)
    shadow = machine.create("loop", kind="shadow", shm=shared)
    other.start(relay=relay)
    with pytest.raises(penglai.SecurityError):
        shadow.start(relay=relay)
    for enclave in (shadow, other):
        enclave.destroy()
    for memory in (shared, relay):
        machine.free(memory)
    assert machine._driver.free_bytes >= free


def test_memory_is_free_when_nobody_has_it(machine: penglai.Machine):
    machine.create("loop").destroy()
    free = machine._driver.free_bytes
    shared, relay = machine.shared_memory(5 * PAGE), machine.relay_pages(3 * PAGE)
    enclave = machine.create("loop", shm=shared)
    enclave.start(relay=relay)
    view = memoryview(shared)
    with pytest.raises(BufferError):
        machine.free(shared)
    view.release()
    machine.free(shared)
    machine.free(relay)
    with pytest.raises(penglai.BadArgumentError, match="no shared memory"):
        machine.find_shared_memory(shared.id)
    with pytest.raises(penglai.BadArgumentError, match="no relay pages"):
        machine.find_relay_pages(relay.id)
    assert machine._driver.free_bytes < free - 7 * PAGE, "the enclave has it still"
    enclave.destroy()
    until(lambda: machine._driver.free_bytes == free)


class TestWhoseTheyAre:
    """Memories belong to the program that made them; for others there are none."""

    def test_another_program_cannot_find_them(self, machine: penglai.Machine):
        shared, relay = machine.shared_memory(PAGE), machine.relay_pages(PAGE)
        with machine.program() as other:
            with pytest.raises(penglai.BadArgumentError, match="no shared memory"):
                other.find_shared_memory(shared.id)
            with pytest.raises(penglai.BadArgumentError, match="no relay pages"):
                other.find_relay_pages(relay.id)
        assert machine.find_shared_memory(shared.id) is shared
        assert machine.find_relay_pages(relay.id) is relay

    def test_another_program_cannot_give_them_to_an_enclave(self, machine: penglai.Machine):
        shared, relay = machine.shared_memory(PAGE), machine.relay_pages(2 * PAGE)
        with machine.program() as other:
            with pytest.raises(penglai.BadArgumentError, match="made by another program"):
                other.create("loop", shm=shared)
            enclave = other.create("loop")
            for pages in (relay, relay.part(PAGE, PAGE)):
                with pytest.raises(penglai.BadArgumentError, match="made by another program"):
                    enclave.start(relay=pages)
        assert relay.with_host

    def test_another_program_cannot_free_relay_pages(self, machine: penglai.Machine):
        relay = machine.relay_pages(PAGE)
        relay.write(b"kept")
        with machine.program() as other:
            other.free(relay)
        assert machine.find_relay_pages(relay.id) is relay
        assert machine.relay_pages(PAGE).pa != relay.pa

    def test_they_end_with_their_program(self, machine: penglai.Machine):
        machine.create("loop").destroy()
        free = machine._driver.free_bytes
        with machine.program() as other:
            other.shared_memory(5 * PAGE)
            other.relay_pages(3 * PAGE)
            enclave = other.create("loop", shm=other.shared_memory(PAGE))
            enclave.start(relay=other.relay_pages(PAGE))
        until(lambda: machine._driver.free_bytes == free)
        with pytest.raises(penglai.MachineError, match="closed"):
            other.shared_memory(PAGE)
        with pytest.raises(penglai.MachineError, match="closed"):
            other.relay_pages(PAGE)

    def test_pages_that_a_program_still_looks_at_are_not_given_to_another(self, machine: penglai.Machine):
        with machine.program() as other:
            view = np.frombuffer(other.shared_memory(PAGE), dtype=np.uint8)
            view[:] = 7
        for _ in range(4):
            machine.shared_memory(PAGE)[0:1] = b"x"
        assert (view == 7).all()
        free = machine._driver.free_bytes
        del view
        machine.shared_memory(PAGE)
        assert machine._driver.free_bytes == free, "one page was freed, and one was taken"

    def test_memory_that_was_closed_is_free(self, machine: penglai.Machine):
        free = machine._driver.free_bytes
        shared = machine.shared_memory(PAGE)
        shared.close()
        shared.close()
        machine.free(shared)
        assert machine._driver.free_bytes == free
        with pytest.raises(penglai.BadArgumentError, match="closed"):
            machine.create("loop", shm=shared)

    def test_freed_relay_pages_cannot_be_given(self, machine: penglai.Machine):
        relay = machine.relay_pages(PAGE)
        machine.free(relay)
        with pytest.raises(penglai.BadArgumentError, match="freed"):
            machine.create("loop").start(relay=relay)


@pytest.mark.parametrize(
    "place",
    [{"shm_offset": 1}, {"shm_offset": -PAGE}, {"shm_size": 0}, {"shm_size": 3 * PAGE}, {"shm_size": 100}],
)
def test_parts_that_are_none(machine: penglai.Machine, place: dict[str, int]):
    shared = machine.shared_memory(2 * PAGE)
    with pytest.raises(penglai.BadArgumentError, match="whole pages"):
        machine.create("loop", shm=shared, **place)


RELAY = """
volatile unsigned long *pages = (void *)args[13];
unsigned long first = pages[0];
pages[1] = first + 1;
eapp_return_relay_page();
EAPP_RETURN(args[14] ? *(unsigned long *)args[13] * 1000 + args[14] / 4096 : 7);
"""


def test_relay_pages_go_there_and_back(machine: penglai.Machine):
    relay = machine.relay_pages(2 * PAGE)
    relay[0:8] = (41).to_bytes(8, "little")
    enclave = machine.create(eapp(RELAY))
    run = enclave.start(relay=relay)
    assert run.result(PATIENCE) == penglai.Result(Reason.RELAY)
    assert relay.with_host
    assert relay.read(8, 8) == (42).to_bytes(8, "little")
    relay.write((9).to_bytes(8, "little"))
    assert enclave.continue_with(relay.part(0, PAGE)).result(PATIENCE).value == 9001
    assert bytes(relay) == bytes(2 * PAGE - PAGE) + relay.read(offset=PAGE), "scrubbed at the end"


def test_running_again_without_pages_and_without_reason(machine: penglai.Machine):
    enclave = machine.create(eapp(RELAY))
    with pytest.raises(penglai.StateError, match="no relay pages"):
        enclave.continue_with()
    assert enclave.run(PATIENCE, relay=machine.relay_pages(PAGE)).reason is Reason.RELAY
    with pytest.raises(penglai.StateError):
        enclave.run()
    assert enclave.continue_with().result(PATIENCE).value == 7


def test_while_an_enclave_has_them_the_host_gets_an_access_fault(machine: penglai.Machine):
    relay = machine.relay_pages(PAGE)
    enclave, other = machine.create("loop"), machine.create("loop")
    enclave.start(relay=relay)
    assert not relay.with_host
    for access in (relay.read, lambda: relay.write(b"x"), lambda: relay[0:1], lambda: bytes(relay)):
        with pytest.raises(penglai.AccessFault):
            access()
    with pytest.raises(penglai.SecurityError):
        other.start(relay=relay)
    enclave.destroy()
    assert relay.read() == bytes(PAGE)
    other.start(relay=relay)


def test_relay_pages_of_a_shadow_go_to_the_instance(machine: penglai.Machine):
    shadow = machine.create(eapp(RELAY), kind="shadow")
    relay = machine.relay_pages(PAGE)
    run = shadow.start(relay=relay)
    assert run.result(PATIENCE).reason is Reason.RELAY
    assert run.enclave.continue_with().result(PATIENCE).value == 7


def test_asking_for_more_than_there_is(machine: penglai.Machine):
    for make in (machine.shared_memory, machine.relay_pages):
        with pytest.raises(penglai.NoMemoryError):
            make(1 << 40)
        for size in (0, -1):
            with pytest.raises(penglai.BadArgumentError):
                make(size)


def test_the_pool_gives_chunks_back_when_the_host_needs_them():
    with penglai.Machine("16M") as machine:
        big = eapp("char *p = eapp_mmap(0, 8 << 20); EAPP_RETURN((unsigned long)p != -1UL);")
        assert machine.create(big).run(PATIENCE).value == 1
        assert machine._driver.free_bytes < 8 << 20
        assert len(machine.shared_memory(10 << 20)) == 10 << 20


SECTORS = """
char buffer[512];
for (int i = 0; i < 512; i++)
    buffer[i] = i * 3;
if (args[11] == 0 && (eapp_write_sector(7, buffer) || eapp_write_sector(100000, buffer)))
    EAPP_RETURN(1);
char back[512];
if (eapp_read_sector(7, back))
    EAPP_RETURN(2);
for (int i = 0; i < 512; i++)
    if (back[i] != buffer[i])
        EAPP_RETURN(3);
EAPP_RETURN(eapp_read_sector(1UL << 40, back) == -1 ? 42 : 4);
"""


def test_sectors_outlive_the_machine(tmp_path):
    with penglai.Machine(state=tmp_path / "state") as machine:
        assert machine.create(eapp(SECTORS)).run(PATIENCE).value == 42
    with penglai.Machine(state=tmp_path / "state") as machine:
        shared = machine.shared_memory(PAGE)  # its size in args[11] says: only read
        assert machine.create(eapp(SECTORS), shm=shared).run(PATIENCE).value == 42
    with penglai.Machine(state=None) as machine:
        assert machine.create(eapp(SECTORS), shm=machine.shared_memory(PAGE)).run(PATIENCE).value == 3


THROUGH_SHARED = """
char *shared = (char *)args[10];
if (!shared || shared[0] == 'r') {
    int result = eapp_persistency_read_sec(3);
    EAPP_RETURN(shared && shared[4095] == 9 ? 42 : result);
}
shared[0] = 7;
shared[4095] = 9;
char small[512];
if (eapp_persistency_write_sec(3) || eapp_persistency_write_sec(1UL << 40) != -1)
    EAPP_RETURN(1);
if (eapp_read_sector(3 * 8, small) || small[0] != 7)
    EAPP_RETURN(2);
EAPP_RETURN(41);
"""


def test_sectors_of_4096_bytes_pass_through_the_memory_that_the_host_names(tmp_path):
    program = eapp(THROUGH_SHARED)
    for first, value in ((b"w", 41), (b"r", 42)):
        with penglai.Machine(state=tmp_path / "state") as machine:
            shared = machine.shared_memory(2 * PAGE)
            shared[:1] = first
            assert machine.create(program).run(PATIENCE).value == (1 << 64) - 1, "before one is named"
            machine.use_disk(shared)
            assert machine.create(program, shm=shared).run(PATIENCE).value == value


SEAL = """
unsigned char key[32], other[32];
if (get_key(0, (char *)key, 32) || get_key(1, (char *)other, 32))
    EAPP_RETURN(0);
unsigned long mixed = 0, different = 0;
for (int i = 0; i < 32; i++) {
    mixed = mixed * 31 + key[i];
    different |= key[i] ^ other[i];
}
EAPP_RETURN(different ? mixed : 0);
"""


def test_keys_belong_to_program_and_device(tmp_path):
    other = 'eapp_print("another program");' + SEAL
    found = []
    for state in (tmp_path / "a", tmp_path / "a", tmp_path / "b"):
        with penglai.Machine(state=state) as machine:
            found.append([machine.create(eapp(text)).run(PATIENCE).value for text in (SEAL, SEAL, other)])
    assert found[0] == found[1], "the same after a restart"
    assert found[0][0] == found[0][1] != found[0][2], "the program's own"
    assert found[2][0] != found[0][0], "the device's own"
    assert 0 not in found[0]


SAFE = """
unsigned char pad[512], sector[512];
char secret[] = "the combination is 4711";
if (get_key(EAPP_KEY_STORAGE, (char *)pad, sizeof pad))
    EAPP_RETURN(1);
if (args[11]) { /* shared memory says: write */
    for (int i = 0; i < 512; i++)
        sector[i] = pad[i] ^ (i < (int)sizeof secret ? secret[i] : 0);
    EAPP_RETURN(eapp_write_sector(3, sector));
}
if (eapp_read_sector(3, sector))
    EAPP_RETURN(2);
for (int i = 0; i < 512; i++)
    sector[i] ^= pad[i];
for (int i = 0; i < 512; i++)
    if (sector[i] != (i < (int)sizeof secret ? secret[i] : 0))
        EAPP_RETURN(3);
EAPP_RETURN(42);
"""


def test_what_is_sealed_survives_a_restart_and_opens_for_nobody_else(tmp_path):
    state = tmp_path / "state"
    with penglai.Machine(state=state) as machine:
        writer = machine.create(eapp(SAFE), shm=machine.shared_memory(PAGE))
        assert writer.run(PATIENCE).value == 0
    assert b"combination" not in (state / "disk.img").read_bytes()
    with penglai.Machine(state=state) as machine:
        assert machine.create(eapp(SAFE)).run(PATIENCE).value == 42
        assert machine.create(eapp('eapp_print("thief");' + SAFE)).run(PATIENCE).value == 3
    for key in state.iterdir():
        if key.name != "disk.img":
            key.unlink()
    with penglai.Machine(state=state) as machine:
        assert machine.create(eapp(SAFE)).run(PATIENCE).value == 3, "another device"


def test_keys_that_others_can_read_are_not_used_and_the_machine_goes_on(tmp_path, caplog):
    state = tmp_path / "state"
    with penglai.Machine(state=state) as machine:
        assert machine.create("hello-world").attest(1)
        assert machine.create(eapp(SEAL)).run(PATIENCE).value != 0
    for key in state.iterdir():
        key.chmod(0o644)
    with penglai.Machine(state=state) as machine:
        with pytest.raises(penglai.AttestationError, match="its log says why"):
            machine.create("hello-world").attest(1)
        assert machine.create(eapp(SEAL)).run(PATIENCE).value == 0
        with pytest.raises(penglai.StorageError):
            assert machine.device_key
    assert "keys are not available" in caplog.text


REPORTS = """
struct report_t mine, theirs;
if (get_report(0, &mine, 77) || get_report("helper", &theirs, 78))
    EAPP_RETURN(0);
unsigned char *shared = (void *)args[10];
__builtin_memcpy(shared, &mine, sizeof mine);
__builtin_memcpy(shared + 1024, &theirs, sizeof theirs);
EAPP_RETURN(get_report("nobody", &mine, 1) == -1);
"""


def test_enclaves_get_reports_of_themselves_and_of_servers(machine: penglai.Machine):
    shared = machine.shared_memory(PAGE)
    server = machine.create("hello-world", name="helper", kind="server")
    enclave = machine.create(eapp(REPORTS), shm=shared)
    measurement = enclave.measurement
    assert enclave.run(PATIENCE).value == 1
    for offset, measured, nonce in ((0, measurement, 77), (1024, server.measurement, 78)):
        report = penglai.Report.from_bytes(bytes(shared[offset : offset + 328]))
        report.verify(measurement=measured, nonce=nonce, device_key=machine.device_key)
        with pytest.raises(penglai.AttestationError):
            report.verify(measurement=measured, nonce=nonce + 1)


def test_when_an_enclave_can_be_attested(machine: penglai.Machine):
    enclave = machine.create("loop")
    fresh = enclave.attest(1)
    assert enclave.attest(1).hash == fresh.hash
    enclave.start()
    with pytest.raises(penglai.StateError, match="stop it first"):
        enclave.attest(1)
    enclave.stop()
    enclave.attest(5).verify(measurement=enclave.measurement, nonce=5, device_key=machine.device_key)
    enclave.destroy()
    with pytest.raises(penglai.NoSuchEnclaveError):
        enclave.attest(1)
    for nonce in (-1, 1 << 64):
        with pytest.raises(penglai.BadArgumentError, match="64 bits"):
            machine.create("loop").attest(nonce)
