"""Penglai-TVM enclaves in Python: a RISC-V machine, the secure monitor, a host and the SDK.

import penglai

with penglai.Machine() as machine:
    enclave = machine.create("hello-world")
    print(enclave.run(), machine.console.text)
"""

from penglai.abi.errors import (
    AccessFault,
    AllocationError,
    AttestationError,
    BadArgumentError,
    ErrorCode,
    ExistsError,
    ImageError,
    IpiError,
    MachineError,
    MonitorBug,
    NoMemoryError,
    NoSuchEnclaveError,
    PenglaiError,
    SecurityError,
    StateError,
    StorageError,
    ToolchainError,
    WaitTimeoutError,
)
from penglai.abi.state import State
from penglai.attestation.report import Report
from penglai.driver.shared import RelayPages, SharedMemory
from penglai.driver.task import Fault, Info, Reason, Result
from penglai.embedded import Machine
from penglai.host.console import Console
from penglai.host.enclave import Enclave, Run
from penglai.host.program import HostProgram
from penglai.offline import measure
from penglai.sdk.build import build, demos

__version__ = "0.1.0"

__all__ = [
    "AccessFault",
    "AllocationError",
    "AttestationError",
    "BadArgumentError",
    "Console",
    "Enclave",
    "ErrorCode",
    "ExistsError",
    "Fault",
    "HostProgram",
    "ImageError",
    "Info",
    "IpiError",
    "Machine",
    "MachineError",
    "MonitorBug",
    "NoMemoryError",
    "NoSuchEnclaveError",
    "PenglaiError",
    "Reason",
    "RelayPages",
    "Report",
    "Result",
    "Run",
    "SecurityError",
    "SharedMemory",
    "State",
    "StateError",
    "StorageError",
    "ToolchainError",
    "WaitTimeoutError",
    "build",
    "demos",
    "measure",
]
