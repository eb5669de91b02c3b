"""Penglai-TVM enclaves in Python: a RISC-V machine, the secure monitor, a host and the SDK.

import penglai

with penglai.Machine() as machine:
    enclave = machine.create("hello-world")
    print(enclave.run(), machine.console.text)
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penglai import aio
    from penglai.abi.errors import (
        AccessFault,
        AllocationError,
        AttestationError,
        BadArgumentError,
        ErrorCode,
        ExistsError,
        FleetError,
        ImageError,
        IpiError,
        MachineError,
        MonitorBug,
        NoMemoryError,
        NoSuchEnclaveError,
        PenglaiError,
        PolicyError,
        RecordingError,
        SecurityError,
        SnapshotError,
        StateError,
        StorageError,
        ToolchainError,
        WaitTimeoutError,
    )
    from penglai.abi.state import State
    from penglai.attestation.report import Report
    from penglai.debug.coverage import Coverage
    from penglai.debug.profile import TimeProfile
    from penglai.debug.recorder import Recording
    from penglai.debug.replay import replay
    from penglai.debug.session import DebugSession
    from penglai.debug.use import Use
    from penglai.driver.fault import Fault, Frame
    from penglai.driver.limits import Limits
    from penglai.driver.shared import RelayPages, SharedMemory
    from penglai.driver.task import Info, Reason, Result
    from penglai.embedded import USER_STATE, Machine
    from penglai.fleet.fleet import Fleet, FleetEnclave
    from penglai.guest.session import Linux, Ran
    from penglai.host.console import Console, Output
    from penglai.host.enclave import Enclave, Run
    from penglai.host.image import Kind
    from penglai.host.mounts import Mounts
    from penglai.host.network import Network
    from penglai.host.program import HostProgram
    from penglai.host.stdin import Stdin
    from penglai.offline import measure
    from penglai.sdk.build import build, demos
    from penglai.sdk.hostbuild import build_host
    from penglai.sdk.packing import pack
    from penglai.tracing.trace import Trace
    from penglai.verifier.evidence import as_eat, read_evidence
    from penglai.verifier.policy import Policy, Verdict
    from penglai.verifier.policyfile import KnownEnclave
    from penglai.verifier.service import Verifier

__version__ = "0.1.0"

__all__ = [
    "USER_STATE",
    "AccessFault",
    "AllocationError",
    "AttestationError",
    "BadArgumentError",
    "Console",
    "Coverage",
    "DebugSession",
    "Enclave",
    "ErrorCode",
    "ExistsError",
    "Fault",
    "Fleet",
    "FleetEnclave",
    "FleetError",
    "Frame",
    "HostProgram",
    "ImageError",
    "Info",
    "IpiError",
    "Kind",
    "KnownEnclave",
    "Limits",
    "Linux",
    "Machine",
    "MachineError",
    "MonitorBug",
    "Mounts",
    "Network",
    "NoMemoryError",
    "NoSuchEnclaveError",
    "Output",
    "PenglaiError",
    "Policy",
    "PolicyError",
    "Ran",
    "Reason",
    "Recording",
    "RecordingError",
    "RelayPages",
    "Report",
    "Result",
    "Run",
    "SecurityError",
    "SharedMemory",
    "SnapshotError",
    "State",
    "StateError",
    "Stdin",
    "StorageError",
    "TimeProfile",
    "ToolchainError",
    "Trace",
    "Use",
    "Verdict",
    "Verifier",
    "WaitTimeoutError",
    "aio",
    "as_eat",
    "build",
    "build_host",
    "demos",
    "measure",
    "pack",
    "read_evidence",
    "replay",
]

_HOMES = {
    "embedded": ("USER_STATE", "Machine"),
    "offline": ("measure",),
    "sdk.build": ("build", "demos"),
    "sdk.hostbuild": ("build_host",),
    "sdk.packing": ("pack",),
    "abi.state": ("State",),
    "attestation.report": ("Report",),
    "driver.limits": ("Limits",),
    "driver.shared": ("RelayPages", "SharedMemory"),
    "debug.recorder": ("Recording",),
    "debug.replay": ("replay",),
    "debug.coverage": ("Coverage",),
    "debug.profile": ("TimeProfile",),
    "debug.session": ("DebugSession",),
    "debug.use": ("Use",),
    "driver.fault": ("Fault", "Frame"),
    "driver.task": ("Info", "Reason", "Result"),
    "fleet.fleet": ("Fleet", "FleetEnclave"),
    "guest.session": ("Linux", "Ran"),
    "host.console": ("Console", "Output"),
    "host.enclave": ("Enclave", "Run"),
    "host.image": ("Kind",),
    "host.mounts": ("Mounts",),
    "host.network": ("Network",),
    "host.program": ("HostProgram",),
    "host.stdin": ("Stdin",),
    "tracing.trace": ("Trace",),
    "verifier.evidence": ("as_eat", "read_evidence"),
    "verifier.policy": ("Policy", "Verdict"),
    "verifier.policyfile": ("KnownEnclave",),
    "verifier.service": ("Verifier",),
}
"""Where names are defined that are no errors; errors are in abi.errors."""

_WITHOUT_NUMPY = ("abi.", "sdk.")
"""Where they begin, of modules that need no numpy."""


def __getattr__(name: str) -> object:
    """Import what is used, when it is used: booting needs no ELF reader, compiling no machine."""
    if name not in __all__:
        raise AttributeError(f"module 'penglai' has no attribute {name!r}")
    if name == "aio":
        import penglai.aio as asynchronous  # noqa: PLC0415 - few use it

        return asynchronous
    home = next((module for module, names in _HOMES.items() if name in names), "abi.errors")
    if not home.startswith(_WITHOUT_NUMPY):
        from penglai.toolchain.addressspace import require_address_space  # noqa: PLC0415 - as above

        require_address_space()
    found = getattr(importlib.import_module(f"penglai.{home}"), name)
    if callable(found):
        found.__module__ = "penglai"  # where its users find it, as help() and tracebacks should say
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
