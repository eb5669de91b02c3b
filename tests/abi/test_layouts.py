"""The numbers and layouts of the ABI, pinned: a change here breaks binaries."""

import ctypes

import pytest

import penglai
from penglai.abi import ecall, ioctl, layout, measured, report, sbi
from penglai.abi.errors import ErrorCode, PenglaiError, error_class


def offsets(struct: type[ctypes.Structure]) -> dict[str, int]:
    return {name: getattr(struct, name).offset for name, *_ in struct._fields_}


def test_create_param_is_the_abis():
    assert ctypes.sizeof(sbi.CreateParam) == 136
    assert offsets(sbi.CreateParam) == {
        "eid_pa": 0,
        "name": 8,
        "type": 24,
        "paddr": 32,
        "size": 40,
        "entry": 48,
        "free_mem": 56,
        "kbuffer": 64,
        "kbuffer_size": 72,
        "shm_paddr": 80,
        "shm_size": 88,
        "ocall_id_pa": 96,
        "ocall_arg0_pa": 104,
        "ocall_arg1_pa": 112,
        "syscall_pa": 120,
        "retval_pa": 128,
    }


def test_run_param_is_the_abis():
    assert ctypes.sizeof(sbi.RunParam) == 16
    assert offsets(sbi.RunParam) == {"relay_pa": 0, "relay_size": 8}


def test_user_param_is_the_abis():
    assert ctypes.sizeof(ioctl.UserParam) == 112
    assert offsets(ioctl.UserParam) == {
        "eid": 0,
        "name": 8,
        "type": 24,
        "elf_ptr": 32,
        "elf_size": 40,
        "stack_size": 48,
        "shmid": 56,
        "isShadow": 60,
        "shm_offset": 64,
        "shm_size": 72,
        "schrodinger_id": 80,
        "rerun_reason": 84,
        "schrodinger_offset": 88,
        "schrodinger_size": 96,
        "retval": 104,
    }


def test_the_report_is_the_abis():
    assert report.REPORT_BYTES == 328
    assert offsets(report.ReportLayout) == {"monitor": 0, "enclave": 160, "device_key": 264}
    assert offsets(report.MonitorPart) == {"hash": 0, "signature": 32, "public_key": 96}
    assert offsets(report.EnclavePart) == {"hash": 0, "signature": 32, "nonce": 96}
    assert ctypes.sizeof(report.EnclavePart) == 104


def test_call_numbers_are_the_abis():
    assert sbi.EXTENSION == 0x100100
    assert [call.name for call in sorted(sbi.HostCall)[:8]] == [
        *("INFO", "EVENT", "LIMIT", "SNAPSHOT", "SNAPSHOT_PIECE", "SNAPSHOT_MOVE", "RESTORE", "RESTORE_PIECE")
    ]
    calls = {call.name: int(call) for call in sbi.HostCall if call > 8}
    assert calls == {
        "SM_INIT": 100,
        "CREATE": 99,
        "ATTEST": 98,
        "RUN": 97,
        "STOP": 96,
        "RESUME": 95,
        "DESTROY": 94,
        "MEMORY_EXTEND": 92,
        "MEMORY_RECLAIM": 91,
        "CREATE_SERVER": 90,
        "DESTROY_SERVER": 89,
        "DEBUG_PRINT": 88,
        "RUN_SHADOW": 87,
        "CREATE_SHADOW": 86,
        "SCHRODINGER_INIT": 85,
        "ATTEST_SHADOW": 80,
        "DESTROY_SHADOW": 79,
    }
    assert [int(reason) for reason in sbi.ResumeReason] == [0, 1, 2]
    own_values = (sbi.RunValue.FAULTED, sbi.RunValue.ELSEWHERE)
    assert [int(value) for value in sbi.RunValue if value not in own_values] == [0, 1, 2, 3]
    assert ecall.EXTENSION == 0x100101
    own = {call.name for call in ecall.PRIVATE}
    assert {call.name: int(call) for call in ecall.EnclaveCall if call.name not in own} == {
        "EXIT": 99,
        "OCALL": 98,
        "ACQUIRE_SERVER": 97,
        "CALL_SERVER": 96,
        "RETURN": 95,
        "GET_REPORT": 94,
        "ASYNC_CALL": 93,
        "SPLIT_REGION": 92,
        "CALLER_ID": 91,
        "OWN_ID": 90,
        "YIELD": 89,
        "GET_KEY": 88,
        "SHM_ATTACH": 84,
        "SHM_STAT": 83,
    }
    assert [ocall.name for ocall in sorted(ecall.Ocall)] == [
        "MMAP",
        "UNMAP",
        "WRITE",
        "SBRK",
        "READ_SECTOR",
        "WRITE_SECTOR",
        "RETURN_RELAY",
        "GETRANDOM",
        "SHM_GET",
        "SHM_DETACH",
        "SHM_DESTROY",
        "SHM_EXTEND",
        "ASK",
    ]
    assert sorted(ecall.Ocall) == [*range(1, 13), 64]


def test_requests_are_the_abis():
    assert ioctl.DEVICE == "/dev/penglai_enclave_dev"
    assert {request.name: int(request) for request in ioctl.Request} == {
        "CREATE": 0x8070A400,
        "RUN": 0x8070A401,
        "ATTEST": 0x8158A402,
        "STOP": 0x8070A403,
        "RESUME": 0x8070A404,
        "DESTROY": 0x4070A405,
        "DEBUG_PRINT": 0x4070A406,
        "SHMGET": 0x8018A410,
        "SHMAT": 0x8020A411,
        "SHMDT": 0x8018A412,
        "SHMCTL": 0x8004A413,
        "SCHRODINGER_GET": 0x8018A414,
        "SCHRODINGER_AT": 0x8020A415,
        "SCHRODINGER_DT": 0x8018A416,
        "SCHRODINGER_CTL": 0x8004A417,
        "PERSISTENCY_INIT": 0x8004A418,
    }


def test_what_an_outside_verifier_hashes_is_the_abis():
    assert measured.MEASUREMENT_DOMAIN == b"penglai-2 measurement\0\0\0"
    assert b"penglai-2 report" + bytes(8) == measured.REPORT_DOMAIN
    assert (measured.MEASUREMENT_HEAD.size, measured.MEASUREMENT_RUN.size) == (56, 24)
    assert measured.UPPER_HALF == 0xFFFF_FF80_0000_0000
    assert measured.SM2_USER_ID == b"1234567812345678"


def test_call_arg_is_the_abis():
    assert ctypes.sizeof(ecall.CallArg) == 48
    names = ("req_arg", "resp_val", "req_vaddr", "req_size", "resp_vaddr", "resp_size")
    assert offsets(ecall.CallArg) == {name: 8 * index for index, name in enumerate(names)}


def test_shadow_run_param_is_the_abis():
    assert ctypes.sizeof(sbi.ShadowRunParam) == 136
    found = offsets(sbi.ShadowRunParam)
    assert list(found.values()) == list(range(0, 128, 8))
    names = ("size", "eid_pa", "kbuffer", "shm_paddr", "relay_pa", "ocall_id_pa", "name")
    assert [found[name] for name in names] == [16, 24, 32, 48, 64, 80, 120]


def test_attest_param_is_the_abis():
    assert ctypes.sizeof(ioctl.AttestParam) == 344
    assert offsets(ioctl.AttestParam) == {"eid": 0, "isShadow": 4, "nonce": 8, "report": 16}


def test_address_space_is_the_abis():
    assert layout.TEXT_BASE == 0x1000
    assert layout.HEAP_BASE == 0x10_0000_0000
    assert layout.MMAP_TOP == 0x30_0000_0000
    assert layout.STACK_TOP == layout.RELAY_BASE == 0x38_0000_0000
    assert layout.SHARED_BASE == 0x39_0000_0000
    assert layout.KERNEL_BUFFER == 0xFFFF_FFE0_0000_0000
    assert layout.DEFAULT_STACK_SIZE == 16 * 4096


def test_error_codes_are_the_abis():
    assert {code.name: int(code) for code in ErrorCode} == {
        "OK": 0,
        "GENERIC": -1,
        "NO_MEMORY": -2,
        "NO_SUCH_ENCLAVE": -3,
        "EXISTS": -4,
        "ALLOCATION_FAILED": -5,
        "BAD_ARGUMENT": -6,
        "ATTESTATION_FAILED": -7,
        "SECURITY": -8,
        "IPI_FAILED": -9,
    }


@pytest.mark.parametrize("code", [code for code in ErrorCode if code])
def test_every_error_of_the_abi_has_an_exception_of_its_own(code: ErrorCode):
    cls = error_class(code)
    assert cls.code == code
    assert issubclass(cls, penglai.PenglaiError)
    assert cls is not PenglaiError
    assert cls.__name__ in penglai.__all__


def test_an_unknown_code_is_still_a_penglai_error():
    assert error_class(-77) is PenglaiError
