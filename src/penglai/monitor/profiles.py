"""Profiles for machines."""

from penglai.abi.profile import ProfileName
from penglai.monitor.calls import NATIVE
from penglai.monitor.original import tvm
from penglai.monitor.platform import Profile


def make(name: ProfileName) -> Profile:
    """The profile of this name, for a machine that is being switched on."""
    return tvm() if name is ProfileName.TVM else NATIVE
