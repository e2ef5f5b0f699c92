"""Takes from this process, for ever, every system call but those that computing needs (Linux).

Nothing can be opened, connected, started, signalled or traced after that, whatever runs in the
process: a call that isn't on the list fails with EPERM. See seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable

_ALLOWED = {
    "x86_64": {
        "read": 0,
        "write": 1,
        "close": 3,
        "fstat": 5,
        "lseek": 8,
        "mmap": 9,
        "mprotect": 10,
        "munmap": 11,
        "brk": 12,
        "rt_sigaction": 13,
        "rt_sigprocmask": 14,
        "rt_sigreturn": 15,
        "sched_yield": 24,
        "mremap": 25,
        "madvise": 28,
        "nanosleep": 35,
        "getpid": 39,
        "exit": 60,
        "gettimeofday": 96,
        "getrusage": 98,
        "sysinfo": 99,
        "gettid": 186,
        "futex": 202,
        "sched_getaffinity": 204,
        "restart_syscall": 219,
        "clock_gettime": 228,
        "clock_nanosleep": 230,
        "exit_group": 231,
        "getcpu": 309,
        "getrandom": 318,
        "membarrier": 324,
        "rseq": 334,
    },
    "aarch64": {
        "close": 57,
        "lseek": 62,
        "read": 63,
        "write": 64,
        "fstat": 80,
        "exit": 93,
        "exit_group": 94,
        "futex": 98,
        "nanosleep": 101,
        "clock_gettime": 113,
        "clock_nanosleep": 115,
        "sched_getaffinity": 123,
        "sched_yield": 124,
        "restart_syscall": 128,
        "rt_sigaction": 134,
        "rt_sigprocmask": 135,
        "rt_sigreturn": 139,
        "getrusage": 165,
        "getcpu": 168,
        "gettimeofday": 169,
        "getpid": 172,
        "gettid": 178,
        "sysinfo": 179,
        "brk": 214,
        "munmap": 215,
        "mremap": 216,
        "mmap": 222,
        "mprotect": 226,
        "madvise": 233,
        "getrandom": 278,
        "membarrier": 283,
        "rseq": 293,
    },
}
"""``mprotect`` and ``mmap`` may make memory executable: oneDNN compiles its kernels."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
"""The same calls once more, by other numbers, on x86-64."""

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_RET_KILL_PROCESS, _RET_ALLOW, _RET_ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_LOAD_WORD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT = 0, 4
"""Where they stand in ``struct seccomp_data``."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def forbid_all_but_computing() -> None:
    """For this thread and all that it starts; it can't be undone.

    Raises:
        OSError: the kernel has no such filters, or this architecture has no list here.
    """
    machine = platform.machine()
    if platform.system() != "Linux" or machine not in _ALLOWED:
        raise OSError(errno.ENOSYS, f"no list of system calls for {machine}")
    code = filter_code(_AUDIT_ARCH[machine], _ALLOWED[machine].values())
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS: " + os.strerror(ctypes.get_errno()))
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP: " + os.strerror(ctypes.get_errno()))


def filter_code(arch: int, allowed: Iterable[int]) -> bytes:
    """The filter as classic BPF, eight bytes an instruction. Pure."""
    numbers = sorted(allowed)
    # Jumps are counted from the next instruction: over the other numbers and the refusal.
    checks = [
        _step(_JUMP_EQUAL, number, yes=len(numbers) - place) for place, number in enumerate(numbers)
    ]
    return b"".join(
        [
            _step(_LOAD_WORD, _ARCH_AT),
            _step(_JUMP_EQUAL, arch, yes=1),
            _step(_RETURN, _RET_KILL_PROCESS),
            _step(_LOAD_WORD, _NUMBER_AT),
            _step(_JUMP_GREATER_EQUAL, _X32_BIT, yes=len(numbers)),
            *checks,
            _step(_RETURN, _RET_ERRNO | errno.EPERM),
            _step(_RETURN, _RET_ALLOW),
        ]
    )


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)
