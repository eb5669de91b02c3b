"""penglai verifier: verdicts for others, over HTTP."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from penglai.cli.options import command, end_on_signals, err, out
from penglai.machine.store import Store
from penglai.toolchain.places import package_version, state_dir
from penglai.verifier.policy import Policy
from penglai.verifier.result import new_key
from penglai.verifier.service import Verifier

OWN = "verifier"
"""Directory of the verifier's key, in the state directory: it is no device's."""


@command
def verifier(
    policy: Annotated[Path, typer.Option(help="What is believed (penglai policy).", metavar="FILE")],
    listen: Annotated[
        str, typer.Option(help="Where; port 0 is any that is free.", metavar="HOST:PORT")
    ] = "127.0.0.1:8470",
) -> None:
    """Judge evidence for others, until Ctrl-C: a service over HTTP, whose verdicts are signed.

    The address is the first line on standard output; /openapi.json there says what is offered.  The key
    that signs is kept in the state directory.  There is no TLS: to be reached from elsewhere, put a proxy
    before it.
    """
    believed = Policy.load(policy)
    key = Store(state_dir() / OWN).load_or_create("verifier-key", new_key)
    end_on_signals()
    logging.getLogger("penglai.verifier").setLevel(logging.INFO)
    build = f"pypenglai {package_version('pypenglai')}"
    with Verifier(believed, listen, key=key, build=build) as service:
        out.print(service.address)
        if believed.device_keys is None:
            err.print("any device is accepted; name those that you trust in the policy", style="yellow")
        service.wait()


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("verifier")(verifier)
