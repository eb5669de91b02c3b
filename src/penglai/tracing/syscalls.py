"""System calls of Linux as strace writes them: names, arguments, results.

Numbers are those of riscv64 (asm-generic/unistd.h).  What an argument is, one letter says:

    d number  u unsigned  x address  y bits, in hexadecimal  o rights of a file, octal  f descriptor
    s text that ends with NUL  w bytes that go in, as many as the next argument says
    r bytes that come out, as many as the result says  n text that comes out
    F flags of open  P protection  M flags of mmap  S signal  W whence  A flags of names  C flags of clone
    t time, seconds and nanoseconds  v pieces of memory, as many as the next argument says
"""

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

TABLE = """
17 getcwd nu; 19 eventfd2 uy; 20 epoll_create1 y; 21 epoll_ctl fdfx; 22 epoll_pwait fxddxu; 23 dup f
24 dup3 ffF; 25 fcntl fdx; 29 ioctl fyx; 32 flock fd; 33 mknodat fsoy; 34 mkdirat fso; 35 unlinkat fsA
36 symlinkat sfs; 37 linkat fsfsA; 39 umount2 sy; 40 mount sssyx; 43 statfs sx; 44 fstatfs fx
45 truncate su; 46 ftruncate fu; 47 fallocate fxuu; 48 faccessat fsd; 49 chdir s; 50 fchdir f
51 chroot s; 52 fchmod fo; 53 fchmodat fso; 54 fchownat fsddA; 55 fchown fdd; 56 openat fsFo; 57 close f
59 pipe2 xF; 61 getdents64 fxu; 62 lseek fdW; 63 read fru; 64 write fwu; 65 readv fvu; 66 writev fvu
67 pread64 fruu; 68 pwrite64 fwuu; 69 preadv fvuu; 70 pwritev fvuu; 71 sendfile ffxu; 72 pselect6 dxxxtx
73 ppoll xutxu; 78 readlinkat fsru; 79 newfstatat fsxA; 80 fstat fx; 81 sync -; 82 fsync f
83 fdatasync f; 88 utimensat fsxA; 93 exit d; 94 exit_group d; 96 set_tid_address x; 98 futex xyutxu
99 set_robust_list xu; 101 nanosleep tx; 102 getitimer dx; 103 setitimer dxx; 113 clock_gettime dx
114 clock_getres dx; 115 clock_nanosleep dxtx; 118 sched_setparam dx; 119 sched_setscheduler ddx
120 sched_getscheduler d; 121 sched_getparam dx; 122 sched_setaffinity dux; 123 sched_getaffinity dux
124 sched_yield -; 125 sched_get_priority_max d; 126 sched_get_priority_min d
127 sched_rr_get_interval dx; 129 kill dS; 130 tkill dS
131 tgkill ddS; 132 sigaltstack xx; 133 rt_sigsuspend xu; 134 rt_sigaction Sxxu; 135 rt_sigprocmask dxxu
136 rt_sigpending xu; 137 rt_sigtimedwait xxtu; 138 rt_sigqueueinfo dSx; 139 rt_sigreturn -
140 setpriority ddd; 141 getpriority dd; 143 setregid dd; 144 setgid d; 145 setreuid dd; 146 setuid d
147 setresuid ddd; 148 getresuid xxx; 149 setresgid ddd; 150 getresgid xxx; 153 times x; 154 setpgid dd
155 getpgid d; 156 getsid d; 157 setsid -; 158 getgroups dx; 159 setgroups dx
160 uname x; 163 getrlimit dx
164 setrlimit dx; 165 getrusage dx; 166 umask o; 167 prctl dxxxx; 168 getcpu xx; 169 gettimeofday xx
172 getpid -; 173 getppid -; 174 getuid -; 175 geteuid -; 176 getgid -; 177 getegid -; 178 gettid -
179 sysinfo x; 198 socket dyd; 199 socketpair dydx; 200 bind fxu; 201 listen fd; 202 accept fxx
203 connect fxu; 204 getsockname fxx; 205 getpeername fxx; 206 sendto fwuyxu; 207 recvfrom fruyxx
208 setsockopt fddxu; 209 getsockopt fddxx; 210 shutdown fd; 211 sendmsg fxy; 212 recvmsg fxy; 214 brk x
215 munmap xu; 216 mremap xuuyx; 220 clone Cxxxx; 221 execve sxx; 222 mmap xuPMfy; 223 fadvise64 fuud
226 mprotect xuP; 227 msync xuy; 228 mlock xu; 229 munlock xu; 230 mlockall y; 231 munlockall -
232 mincore xux; 233 madvise xud; 242 accept4 fxxy; 258 riscv_hwprobe xuuxy; 259 riscv_flush_icache xxx
260 wait4 dxyx; 261 prlimit64 ddxx; 267 syncfs f; 276 renameat2 fsfsy; 278 getrandom ruy
279 memfd_create sy; 281 execveat fsxxA; 283 membarrier dxd; 285 copy_file_range fxfxuy; 291 statx fsAyx
293 rseq xuyx
435 clone3 xu; 436 close_range uuy; 439 faccessat2 fsdA; 452 fchmodat2 fsoA
"""

ADDRESSES = {"brk", "mmap", "mremap"}
"""Calls whose result is an address."""

NO_RETURN = {"exit", "exit_group", "rt_sigreturn"}
MOST_TEXT = 32
"""Bytes that are shown of a text."""

MOST_PATH = 4096
MOST_PIECES = 16
AT_FDCWD = -100
ERRORS = 4095
ESCAPES = {ord("\n"): "\\n", ord("\t"): "\\t", ord("\r"): "\\r", ord('"'): '\\"', ord("\\"): "\\\\"}

CREATES = 0o100
OPEN = {
    CREATES: "O_CREAT",
    0o200: "O_EXCL",
    0o400: "O_NOCTTY",
    0o1000: "O_TRUNC",
    0o2000: "O_APPEND",
    0o4000: "O_NONBLOCK",
    0o100000: "O_LARGEFILE",
    0o200000: "O_DIRECTORY",
    0o400000: "O_NOFOLLOW",
    0o2000000: "O_CLOEXEC",
    0o10000000: "O_PATH",
}
ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")
PROTECTION = {1: "PROT_READ", 2: "PROT_WRITE", 4: "PROT_EXEC"}
MAPPING = {1: "MAP_SHARED", 2: "MAP_PRIVATE", 0x10: "MAP_FIXED", 0x20: "MAP_ANONYMOUS", 0x20000: "MAP_STACK"}
NAMES = {
    0x100: "AT_SYMLINK_NOFOLLOW",
    0x200: "AT_REMOVEDIR",
    0x400: "AT_SYMLINK_FOLLOW",
    0x1000: "AT_EMPTY_PATH",
}
CLONE = {
    0x100: "CLONE_VM",
    0x200: "CLONE_FS",
    0x400: "CLONE_FILES",
    0x800: "CLONE_SIGHAND",
    0x10000: "CLONE_THREAD",
    0x40000: "CLONE_SYSVSEM",
    0x80000: "CLONE_SETTLS",
    0x4000: "CLONE_VFORK",
    0x100000: "CLONE_PARENT_SETTID",
    0x200000: "CLONE_CHILD_CLEARTID",
    0x1000000: "CLONE_CHILD_SETTID",
}
WHENCE = ("SEEK_SET", "SEEK_CUR", "SEEK_END", "SEEK_DATA", "SEEK_HOLE")

Read = Callable[[int, int], bytes | None]
"""read(address, size): the program's memory, or None where there is none."""


@dataclass(frozen=True)
class Syscall:
    """kinds: a letter for each argument."""

    name: str
    kinds: str


def _table() -> dict[int, Syscall]:
    found = {}
    for entry in TABLE.replace("\n", ";").split(";"):
        if entry.strip():
            number, name, kinds = entry.split()
            found[int(number)] = Syscall(name, kinds.strip("-"))
    return found


CALLS = _table()
"""By number."""


def describe(number: int, arguments: tuple[int, ...], result: int | None, read: Read) -> str:
    """One call as a line.  arguments: a0 to a5.  result: as the program sees it, or None."""
    call = CALLS.get(number, Syscall(f"syscall_{number:#x}", "xxxxxx"))
    kinds = len(call.kinds)
    if call.name == "openat" and not arguments[2] & CREATES:
        kinds -= 1  # then there are no rights
    parts = [_argument(call, index, arguments, result, read) for index in range(kinds)]
    return f"{call.name}({', '.join(parts)})".ljust(39) + f" = {_result(call, result)}"


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _result(call: Syscall, result: int | None) -> str:
    if result is None:
        return "?"
    value = _signed(result, 64)
    if -ERRORS <= value < 0:
        return f"-1 {errno.errorcode.get(-value, f'E{-value}')} ({os.strerror(-value)})"
    return f"{value:#x}" if call.name in ADDRESSES else str(value)


def _argument(call: Syscall, index: int, arguments: tuple[int, ...], result: int | None, read: Read) -> str:
    kind, value = call.kinds[index], arguments[index]
    simple = SIMPLE.get(kind)
    if simple is not None:
        return simple(value)
    done = _signed(result, 64) if result is not None else -1
    if kind == "s":
        return _text(value, read)
    if kind == "w":
        return _bytes(value, arguments[index + 1], read)
    if kind in "rn":
        return _bytes(value, done - (kind == "n"), read) if done >= 0 else _address(value)
    if kind == "t":
        return _time(value, read)
    return _pieces(value, arguments[index + 1], done, read)


def _address(value: int) -> str:
    return f"{value:#x}" if value else "NULL"


def _descriptor(value: int) -> str:
    number = _signed(value, 32)
    return "AT_FDCWD" if number == AT_FDCWD else str(number)


def _flags(names: dict[int, str], value: int) -> str:
    words = [name for bit, name in names.items() if value & bit]
    rest = value & ~sum(names)
    return "|".join([*words, *([f"{rest:#x}"] if rest or not words else [])]) or "0"


def _open(value: int) -> str:
    rest = value & ~3
    return ACCESS[value & 3] + (f"|{_flags(OPEN, rest)}" if rest else "")


def _protection(value: int) -> str:
    return _flags(PROTECTION, value) if value else "PROT_NONE"


def _clone(value: int) -> str:
    number = value & 0xFF
    return _flags(CLONE, value & ~0xFF) + (f"|{_signal(number)}" if number else "")


def _signal(value: int) -> str:
    try:
        return signal.Signals(value).name
    except ValueError:
        return str(_signed(value, 32))


def _whence(value: int) -> str:
    return WHENCE[value] if value < len(WHENCE) else str(value)


SIMPLE: dict[str, Callable[[int], str]] = {
    "d": lambda value: str(_signed(value, 32)),
    "u": str,
    "x": _address,
    "y": lambda value: f"{value:#x}" if value else "0",
    "o": lambda value: f"0{value & 0xFFFFFFFF:o}",
    "f": _descriptor,
    "F": _open,
    "P": _protection,
    "M": lambda value: _flags(MAPPING, value),
    "S": _signal,
    "W": _whence,
    "A": lambda value: _flags(NAMES, value) if value else "0",
    "C": _clone,
}


def _escaped(data: bytes) -> str:
    return "".join(ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:o}") for byte in data)


def _quoted(data: bytes, *, more: bool) -> str:
    return f'"{_escaped(data)}"' + ("..." if more else "")


def _bytes(address: int, size: int, read: Read) -> str:
    data = read(address, min(size, MOST_TEXT)) if address else None
    return _address(address) if data is None else _quoted(data, more=size > MOST_TEXT)


def _text(address: int, read: Read) -> str:
    data = b""
    while len(data) < MOST_PATH:
        piece = read(address + len(data), 256 - (address + len(data)) % 256) if address else None
        if piece is None:
            return _address(address)
        text, end, _ = piece.partition(b"\0")
        data += text
        if end:
            break
    return (
        '"'
        + "".join(ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:o}") for byte in data)
        + '"'
    )


def _time(address: int, read: Read) -> str:
    data = read(address, 16) if address else None
    if data is None:
        return _address(address)
    seconds, rest = (int.from_bytes(data[at : at + 8], "little", signed=True) for at in (0, 8))
    return f"{{tv_sec={seconds}, tv_nsec={rest}}}"


def _pieces(address: int, count: int, done: int, read: Read) -> str:
    """iovecs; of those that are read into, only what has come (done)."""
    data = read(address, 16 * min(count, MOST_PIECES)) if address else None
    if data is None:
        return _address(address)
    shown = []
    for at in range(0, len(data), 16):
        base, size = (int.from_bytes(data[at + k : at + k + 8], "little") for k in (0, 8))
        part = min(size, max(done, 0))
        done -= part
        shown.append(f"{{iov_base={_bytes(base, part, read)}, iov_len={size}}}")
    return f"[{', '.join(shown)}{', ...' if count > MOST_PIECES else ''}]"
