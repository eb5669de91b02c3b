"""The process that holds a node of a fleet: python -m penglai.fleet.node, with a Plan as a line of input.

It ends, and the node with it, on SIGTERM, when a process of the node ends, and, if its plan says so, when its
input is closed.  Ray's own `ray start` is not used: on Linux it replaces the loopback by an address that
others reach (docs/decisions/0029-a-fleet-on-ray.md).
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

from ray._private.node import Node
from ray._private.parameter import RayParams

from penglai.fleet.door import Plan

LOOPBACK = "127.0.0.1"
STORE_BYTES = 80_000_000
"""Of Ray's store of objects, in a file that is mapped; images of enclaves pass through it."""


def start(plan: Plan) -> Node:
    """Start a node's processes."""
    first = not plan.address
    parameters = RayParams(
        gcs_address=plan.address or None,
        node_ip_address=LOOPBACK,
        node_name=plan.name,
        num_cpus=0,
        num_gpus=0,
        resources={"pages": plan.pages, "harts": plan.harts, plan.name: 1},
        object_store_memory=STORE_BYTES,
        plasma_directory=plan.directory,
        temp_dir=plan.directory if first else None,
        include_dashboard=False,
        include_log_monitor="",
        no_monitor=True,
        min_worker_port=0,
        max_worker_port=0,
        dashboard_agent_listen_port=0,
    )
    return Node(parameters, head=first, shutdown_at_exit=True, spawn_reaper=True)


def _watch_input(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def main() -> int:
    """Run it; the first line of output is the cluster's address."""
    plan = Plan(**json.loads(sys.stdin.readline()))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    over = threading.Event()
    node = start(plan)
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    sys.stdout.write(f"{node.gcs_address}\n")
    sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if plan.tied:
        threading.Thread(target=_watch_input, args=(over,), daemon=True).start()
    while not over.wait(1):
        if dead := node.dead_processes():  # type: ignore[no-untyped-call]
            Path(plan.directory, f"{plan.name}.end").write_text(f"{dead[0][0]} ended\n")
            return 1
    node.kill_all_processes(check_alive=False, allow_graceful=True, wait=True)
    if plan.tied and not plan.address:
        shutil.rmtree(plan.directory, ignore_errors=True)  # whoever would do it may be dead
    return 0


if __name__ == "__main__":
    sys.exit(main())
