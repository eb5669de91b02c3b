"""The facts on the embedded host, by the names of the C host library."""

import penglai
from penglai.driver.task import Reason
from tests.compat.fact import DIES, Fact
from tests.compat.programs import build
from tests.support.waiting import PATIENCE

MEMORY = "1G"


def observe(fact: Fact, machine: penglai.Machine) -> int | str:
    """What is got: the value of the fact's enclave, or DIES."""
    images = build(fact)
    host = machine.program()
    shared = host.shared_memory(fact.shared) if fact.shared else None
    relay = host.relay_pages(fact.relay) if fact.relay else None
    if fact.disk:
        assert shared is not None
        machine.use_disk(shared)
    with host:
        for name in fact.services:
            host.create(name, name=name, kind="server", shm=shared)
        for name in fact.servers:
            host.create(images[name], name=name, kind="server", shm=shared)
        enclave = host.create(images[""], name="client", shm=shared)
        result = enclave.start(relay=relay).result(PATIENCE)
        while result.reason is Reason.RELAY:
            result = enclave.continue_with(relay).result(PATIENCE)
        if fact.then is not None:
            result = host.create(images["then"], name=fact.then[0]).start().result(PATIENCE)
    return DIES if result.value is None else result.value
