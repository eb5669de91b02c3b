"""make fuzz: each target for a while, led by coverage where atheris is installed.

What was found lies in build/fuzz/<target>; a case that broke something is named on the way, and put into the
corpus by hand.
"""

import argparse
import importlib.util
import os
import random
import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.fuzz import targets

BUILD = Path("build/fuzz")
MOST_BYTES = 2048
SLOW_SECONDS = 60


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help=f"of {', '.join(targets.TARGETS)}; all by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="of what is random (default 1)")
    parser.add_argument("--blind", action="store_true", help="do not be led by coverage")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for name in arguments.target:
        if name not in targets.TARGETS:
            parser.error(f"there is no target {name}")
    return arguments


def guided(name: str, seconds: int, seed: int) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris  # noqa: PLC0415 - only here, and only where it is installed

    with atheris.instrument_imports(include=["penglai", "elftools"]):
        target = targets.load(name)
    found = BUILD / name
    found.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={MOST_BYTES}", "-rss_limit_mb=4096"]
    options += [f"-timeout={SLOW_SECONDS}", f"-artifact_prefix={found}/broken-", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(found), str(targets.CORPUS / name)], target.one)
    atheris.Fuzz()


def blind(name: str, seconds: int, seed: int) -> bool:
    """Random mutations until the time is over; True if nothing broke."""
    target, end = targets.load(name), time.monotonic() + seconds
    tried = broken = 0
    for data in targets.cases(name, sys.maxsize, random.Random(seed)):
        if time.monotonic() >= end:
            break
        tried += 1
        try:
            target.one(data)
        except Exception:
            broken += 1
            traceback.print_exc()
            print(f"the case: {data.hex()}")
    print(f"{name}: {tried} cases, {broken} broken, {tried / seconds:.0f} a second")
    return not broken


def main() -> int:
    arguments = parse()
    led = not arguments.blind and importlib.util.find_spec("atheris") is not None
    if arguments.inside:
        guided(*arguments.target, arguments.seconds, arguments.seed)
    bad = []
    for name in arguments.target or targets.TARGETS:
        print(f"== {name}: {targets.load(name).TITLE}", flush=True)
        if led:
            again = ["--inside", "--seconds", str(arguments.seconds), "--seed", str(arguments.seed)]
            command = [sys.executable, "-m", "tests.fuzz", name, *again]
            good = subprocess.run(command, env=os.environ, check=False).returncode == 0
        else:
            good = blind(name, arguments.seconds, arguments.seed)
        if not good:
            bad.append(name)
    print(f"broken: {', '.join(bad)}" if bad else "nothing broke")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
