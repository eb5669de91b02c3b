"""All facts, by section."""

from tests.compat.fact import Fact
from tests.compat.facts import begin, calls, files, memory, passing, servers, storage

FACTS: tuple[Fact, ...] = (
    *begin.FACTS,
    *calls.FACTS,
    *memory.FACTS,
    *servers.FACTS,
    *passing.FACTS,
    *storage.FACTS,
    *files.FACTS,
)
