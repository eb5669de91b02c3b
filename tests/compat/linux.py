"""The facts on Linux with penglai.ko, by the C host library: one boot for all of them."""

import re
from collections.abc import Sequence

from penglai.guest.sharing import Share
from penglai.sdk.services import build_service
from tests.compat.fact import Fact
from tests.compat.programs import build
from tests.support import linux

MEMORY = "1G"
DISK = "/mnt/persistencty_file"
LINE = re.compile(r"^fact (\d+)\r?$|^got (\S.*?)\r?$", re.MULTILINE)


def observe(facts: Sequence[Fact], shares: Sequence[Share] = ()) -> dict[str, int | str]:
    """What is got, by the facts' names; what the enclaves write is in between."""
    files = {"facts": linux.host_program("facts")}
    files |= {name: build_service(name) for fact in facts for name in fact.services}
    commands = []
    for number, fact in enumerate(facts):
        places = {name: f"p{number}-{name or 'client'}" for name in fact.programs()}
        files |= {places[name]: path for name, path in build(fact).items()}
        commands.append(f'echo; echo "fact {number}"; {_command(fact, places)}')
    ran = linux.run("\n".join(commands), {**files}, memory=MEMORY, shares=shares)
    return _read(facts, ran.output)


def _command(fact: Fact, places: dict[str, str]) -> str:
    words = [f"-s {name}=/{name}" for name in fact.services]
    words += [f"-s {name}=/{places[name]}" for name in fact.servers]
    words += [f"-m {fact.shared}"] if fact.shared else []
    words += [f"-r {fact.relay}"] if fact.relay else []
    words += ["-d"] if fact.disk else []
    words += [f"-t {fact.then[0]}=/{places['then']}"] if fact.then is not None else []
    fresh = f"rm -f {DISK}; " if fact.services else ""
    return fresh + " ".join(["/facts", *words, f"/{places['']}"])


def _read(facts: Sequence[Fact], output: str) -> dict[str, int | str]:
    found: dict[str, int | str] = {}
    number = -1
    for match in LINE.finditer(output):
        if match[1] is not None:
            number = int(match[1])
        elif number >= 0:
            found[facts[number].name] = int(match[2]) if match[2].isdigit() else match[2]
    return {fact.name: found.get(fact.name, "nothing") for fact in facts}
