"""The shipped demos, built for both machines, once."""

import functools
from pathlib import Path

import penglai
from penglai.sdk.build import PORTABLE, demo_source
from penglai.sdk.cross import kit_key
from penglai.toolchain.places import cache_dir

PROFILES = ("native", "tvm")


@functools.cache
def portable(name: str) -> Path:
    """A shipped demo for both machines."""
    target = cache_dir() / "tests" / f"portable-{kit_key(PORTABLE)}" / name
    return target if target.exists() else penglai.build(demo_source(name), target, profile="tvm")
