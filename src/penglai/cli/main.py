"""Entry point of the `penglai` command: whatever can wait is imported later."""

import gc
import logging
import os
import sys

from penglai.cli.exits import ended, guarded
from penglai.cli.streams import Streams
from penglai.toolchain.addressspace import require_address_space

PLAIN_BOOT = ["boot"]
"""A command line that needs no reading: what reads command lines takes some 20 ms to import."""

TOOLS = ("cc", "c++", "ar", "ranlib")
"""Commands that configure scripts run hundreds of times, and that read their command lines themselves."""


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's others would spin on the harts' cores
    gc.disable()  # importing wakes the collector often, and leaves no garbage; `guarded` enables it
    streams = Streams()
    logging.basicConfig(format="penglai: %(message)s", level=logging.WARNING)
    logging.raiseExceptions = False  # the streams keep it
    logging.getLogger("penglai.toolchain").setLevel(logging.INFO)
    sys.exit(ended(_run, streams))


def _run() -> int:
    if sys.argv[1:2] and sys.argv[1] in TOOLS:
        return guarded(_become_tool)
    require_address_space()
    if sys.argv[1:] == PLAIN_BOOT:
        from penglai.cli.linuxhost import host

        return guarded(host)
    from penglai.cli.app import app

    app()
    raise AssertionError("it ends by SystemExit")


def _become_tool() -> int:
    logging.getLogger("penglai.toolchain").setLevel(logging.WARNING)  # they write what tools write
    from penglai.sdk.cc import become

    become(sys.argv[1], sys.argv[2:])
    raise AssertionError("it is another program now")
