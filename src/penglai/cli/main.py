"""Entry point of the `penglai` command: whatever can wait is imported later."""

import gc
import importlib
import logging
import os
import sys

PLAIN_BOOT = ["boot"]
"""A command line that needs no reading: what reads command lines takes some 20 ms to import."""


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's others would spin on the harts' cores
    gc.disable()  # importing wakes the collector often, and leaves no garbage; `guarded` enables it
    _open_streams()
    logging.basicConfig(format="penglai: %(message)s", level=logging.WARNING)
    logging.getLogger("penglai.toolchain").setLevel(logging.INFO)
    if sys.argv[1:] == PLAIN_BOOT:
        host = importlib.import_module("penglai.cli.hosting").host
        sys.exit(importlib.import_module("penglai.cli.ending").guarded(host))
    importlib.import_module("penglai.cli.app").app()


def _open_streams() -> None:
    """Standard input and output that were closed lead nowhere, and not to what is opened next."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
