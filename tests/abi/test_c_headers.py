"""C has no numbers and no structs of its own: each macro, enum and struct of each header is penglai.abi's.

What a header defines is enumerated by the compiler: a new macro, enum or struct fails here until somebody
says which fact of penglai.abi it is, or (NO_FACTS) why it is none.
"""

import ctypes
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path

import pytest
from tests.abi.headers import Leaf, Unit, macros, types, values

from penglai.abi import ecall, hostlibrary, ioctl, layout, limits, report, riscv, sbi
from penglai.abi.ecall import EnclaveCall, KeyType, Ocall
from penglai.abi.errors import ErrorCode
from penglai.abi.sbi import EnclaveType, HostCall, ResumeReason, RunValue
from penglai.abi.snapshot import Policy
from penglai.sdk.build import ENCLAVE
from penglai.sdk.hostbuild import HOST, module_dir

SHIM = Path(__file__).parents[1] / "support/module"


def headers(directory: Path) -> tuple[Path, ...]:
    return tuple(sorted(directory.resolve().glob("*.h")))


MODULE = Unit(
    (module_dir().resolve() / "abi.h",),
    (f"-I{SHIM}",),
    "#include <linux/types.h>",
)
UNITS = {
    "module": MODULE,
    "enclave": Unit(headers(ENCLAVE.include), (f"-I{ENCLAVE.include}",)),
    "host": Unit(headers(HOST.include), (f"-I{HOST.include}",)),
}


def named(values: type[IntEnum], prefix: str, renamed: Mapping[str, str] | None = None) -> dict[str, int]:
    """C's names for an enum of Python's: the prefix, and its own names but for those that are renamed."""
    return {prefix + (renamed or {}).get(value.name, value.name): int(value) for value in values}


REPORT = {
    "HASH_SIZE": report.HASH_BYTES,
    "SIGNATURE_SIZE": report.SIGNATURE_BYTES,
    "PUBLIC_KEY_SIZE": report.PUBLIC_KEY_BYTES,
}

MACROS: dict[str, dict[str, int | str]] = {
    "module": {
        "PENGLAI_NAME_BYTES": layout.NAME_BYTES,
        "PENGLAI_REPORT_BYTES": report.REPORT_BYTES,
        "PENGLAI_SECTOR_BYTES": ecall.TVM_SECTOR_SIZE,
        "PENGLAI_SMALL_SECTOR_BYTES": ecall.SECTOR_SIZE,
        "PENGLAI_IN_BUFFER": ecall.IN_BUFFER,
        "PENGLAI_DISK_BYTES": limits.DISK_BYTES,
        "PENGLAI_DISK": ioctl.SECTOR_FILE,
        "PENGLAI_RELAY_PAGE": ioctl.RETURN_USER_RELAY_PAGE,
        "SBI_EXT_PENGLAI": sbi.EXTENSION,
        "EVENT_SHIFT": sbi.EVENT_SHIFT,
        "ENCLAVE_TEXT_BASE": layout.TEXT_BASE,
        "ENCLAVE_HEAP_BASE": layout.HEAP_BASE,
        "ENCLAVE_MMAP_TOP": layout.MMAP_TOP,
        "ENCLAVE_STACK_TOP": layout.STACK_TOP,
        "ENCLAVE_DEFAULT_STACK": layout.DEFAULT_STACK_SIZE,
        **{
            name.replace("SCHRODINGER", "RELAY"): number
            for name, number in named(ioctl.Request, "PENGLAI_").items()
        },
    },
    "enclave": {
        **REPORT,
        "EAPP_ECALL_EXTENSION": ecall.EXTENSION,
        **named(EnclaveCall, "EAPP_ECALL_", {"RETURN": "SERVER_RETURN"}),
        **named(KeyType, "EAPP_KEY_"),
        **named(Policy, "EAPP_MAY_"),
        "EAPP_PAGE_SIZE": riscv.PAGE_SIZE,
        "EAPP_SECTOR_SIZE": ecall.SECTOR_SIZE,
        "EAPP_NS_PER_TICK": riscv.NS_PER_TICK,
        "EAPP_KERNEL_BUFFER": layout.KERNEL_BUFFER,
        **named(
            Ocall,
            "OCALL_",
            {
                "READ_SECTOR": "READ_SECT",
                "WRITE_SECTOR": "WRITE_SECT",
                "RETURN_RELAY": "RETURN_RELAY_PAGE",
            },
        ),
        "OCALL_SYS_WRITE": Ocall.WRITE,
        "OCALL_OURS": ecall.OURS,
    },
    "host": {
        **REPORT,
        "PENGLAI_DEVICE": ioctl.DEVICE,
        "PENGLAI_NAME_BYTES": layout.NAME_BYTES,
        **{f"{kind.name}_ENCLAVE": kind for kind in EnclaveType},
        "RETURN_USER_RELAY_PAGE": ioctl.RETURN_USER_RELAY_PAGE,
        "PENGLAI_IOC_MAGIC": ioctl.MAGIC,
        **named(ioctl.Request, "PENGLAI_IOC_"),
    },
}
"""What each macro is.  All of a header's are here, and all of these in the header."""

NO_FACTS = {
    "module": {"PENGLAI_ABI_H"},
    "enclave": {
        *("PENGLAI_ATTEST_H", "PENGLAI_EAPP_H", "PENGLAI_FILES_H", "PENGLAI_OCALL_H", "PENGLAI_PRINT_H"),
        *("EAPP_ENTRY", "EAPP_RESERVE_REG", "EAPP_YIELD"),
    },
    "host": {"PENGLAI_ELF_H", "PENGLAI_ENCLAVE_H", "PENGLAI_PARAM_H"},
}
"""Macros that are code, or guards of their files."""

ENUMS: dict[str, dict[str, tuple[type[IntEnum], str]]] = {
    "module": {
        "penglai_kind": (EnclaveType, "PENGLAI_"),
        "penglai_fid": (HostCall, "FID_"),
        "penglai_error": (ErrorCode, "ERR_"),
        "penglai_resume_reason": (ResumeReason, "RESUME_"),
        "penglai_value": (RunValue, "VALUE_"),
        "penglai_ocall": (Ocall, "OCALL_"),
    },
    "enclave": {},
    "host": {},
}
"""Which enum of Python's each is; it need not have all of its values."""

Struct = type[ctypes.LittleEndianStructure]

REPORT_STRUCTS: dict[str, Struct] = {
    "sm_report_t": report.MonitorPart,
    "enclave_report_t": report.EnclavePart,
    "report_t": report.ReportLayout,
}

STRUCTS: dict[str, dict[str, Struct]] = {
    "module": {
        "penglai_user_param": ioctl.UserParam,
        "penglai_attest_param": ioctl.AttestParam,
        "penglai_get_param": ioctl.GetParam,
        "penglai_at_param": ioctl.AtParam,
        "penglai_dt_param": ioctl.DtParam,
        "penglai_mailbox": sbi.Mailbox,
        "penglai_create_param": sbi.CreateParam,
        "penglai_run_param": sbi.RunParam,
        "penglai_shadow_run_param": sbi.ShadowRunParam,
    },
    "enclave": {**REPORT_STRUCTS, "call_enclave_arg_t": ecall.CallArg},
    "host": {
        **REPORT_STRUCTS,
        "user_param": ioctl.UserParam,
        "attest_param": ioctl.AttestParam,
        "shmget_param": ioctl.GetParam,
        "shmat_param": ioctl.AtParam,
        "shmdt_param": ioctl.DtParam,
        "elf_args": hostlibrary.ElfArgs,
        "enclave_args": hostlibrary.EnclaveArgs,
        "PLenclave": hostlibrary.PLenclave,
    },
}

FIELDS = {
    "is_shadow": "isShadow",
    "relay_id": "schrodinger_id",
    "relay_offset": "schrodinger_offset",
    "flags": "flg",
    "ocall_id": "ocall_id_pa",
    "ocall_arg0": "ocall_arg0_pa",
    "ocall_arg1": "ocall_arg1_pa",
    "syscall": "syscall_pa",
    "sm_pub_key": "public_key",
    "dev_pub_key": "device_key",
}
"""Python's names of fields that have others in C."""

FIELDS_OF = {
    "penglai_user_param": {"relay_size": "schrodinger_size"},
    "penglai_mailbox": {"retval": "retval_pa"},
    "penglai_create_param": {"retval": "retval_pa"},
    "penglai_shadow_run_param": {"retval": "retval_pa"},
}
"""The same, where it depends on the struct."""

OPAQUE = {"penglai_attest_param": {"report"}}
"""Fields that are a struct in Python, and bytes in C."""

SIGNED = (ctypes.c_int32, ctypes.c_int64)


def leaves(struct: Struct, opaque: set[str], base: int = 0) -> Iterator[Leaf]:
    for name, kind in struct._fields_:
        place = getattr(struct, name)
        if issubclass(kind, ctypes.Structure) and name not in opaque:
            yield from leaves(kind, opaque, base + place.offset)
        else:
            yield name, base + place.offset, place.size, kind in SIGNED


units = pytest.mark.parametrize("unit", UNITS)


@units
def test_every_macro_is_the_abis(unit: str, tmp_path: Path):
    assert macros(UNITS[unit], tmp_path) - NO_FACTS[unit] == set(MACROS[unit])
    assert values(UNITS[unit], MACROS[unit], tmp_path) == MACROS[unit]


@units
def test_every_enum_is_the_abis(unit: str, tmp_path: Path):
    found, _ = types(UNITS[unit], tmp_path)
    assert set(found) == set(ENUMS[unit])
    for name, members in found.items():
        assert members.items() <= named(*ENUMS[unit][name]).items(), name


@units
def test_every_struct_is_the_abis(unit: str, tmp_path: Path):
    _, found = types(UNITS[unit], tmp_path)
    assert set(found) == set(STRUCTS[unit])
    for name, (size, members) in found.items():
        ours = STRUCTS[unit][name]
        renamed = {**FIELDS, **FIELDS_OF.get(name, {})}
        assert [(renamed.get(field, field), *rest) for field, *rest in members] == list(
            leaves(ours, OPAQUE.get(name, set()))
        ), name
        assert size == ctypes.sizeof(ours), name


def test_what_is_new_is_noticed(tmp_path: Path):
    new = tmp_path / "new.h"
    new.write_text("#define NEW 7\nenum { ONE = -1 };\nstruct fresh { int a; unsigned char b[3]; };\n")
    unit = Unit((new.resolve(),))
    assert macros(unit, tmp_path) == {"NEW"}
    assert values(unit, {"NEW": 0}, tmp_path) == {"NEW": 7}
    enums, structs = types(unit, tmp_path)
    assert enums == {"": {"ONE": -1}}
    assert structs == {"fresh": (8, [("a", 0, 4, True), ("b", 4, 3, False)])}
