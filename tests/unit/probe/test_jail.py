"""What can't be done in the jail, tried in a process that enters it."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.probe.seccomp import filter_code

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="there are lists of system calls for Linux on x86-64 and aarch64",
)

TRIES = {
    "open a file to write": "open(path, 'w')",
    "open a file to read": "open('/etc/hostname')",
    "make a folder": "os.mkdir(path)",
    "remove a file": "os.unlink(there)",
    "rename a file": "os.rename(there, path)",
    "make a link": "os.symlink(there, path)",
    "change a mode": "os.chmod(there, 0o777)",
    "make a connection": "socket.socket()",
    "make a pipe": "os.pipe()",
    "fork": "os.fork()",
    "start a thread": "threading.Thread(target=print).start()",
    "run a program": "os.execv('/bin/true', ['/bin/true'])",
    "signal its parent": "os.kill(os.getppid(), 0)",
    "raise a limit": "resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))",
    "make a file in memory": "os.memfd_create('x')",
    "write more to a file": "os.truncate(there, 100)",
}

PROGRAM = """
import json, os, resource, socket, sys, threading
from pipeline.probe.jail import enter
path, there = sys.argv[1:3]
tries = json.loads(sys.argv[3])
missing = enter(0, 60.0)
came_of_it = {}
for name, code in tries.items():
    try:
        exec(code)
        came_of_it[name] = "done"
    except (OSError, RuntimeError, ValueError) as error:
        came_of_it[name] = type(error).__name__
print(json.dumps([missing, came_of_it, sum(number**2 for number in range(1000))]), flush=True)
os._exit(0)
"""


def test_nothing_but_computing_is_left(tmp_path: Path) -> None:
    import json

    there = tmp_path / "there"
    there.write_text("as it was")
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "new"), str(there), json.dumps(TRIES)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    missing, came_of_it, computed = json.loads(ran.stdout)
    assert missing == ""
    assert [name for name, what in came_of_it.items() if what == "done"] == []
    assert set(came_of_it) == set(TRIES)
    assert computed == sum(number**2 for number in range(1000))
    assert there.read_text() == "as it was"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["there"]


def test_memory_has_a_limit(tmp_path: Path) -> None:
    program = (
        "from pipeline.probe.jail import enter\nenter(0, 60.0)\n"
        "try:\n    bytearray(3 << 30)\nexcept MemoryError:\n    print('no room', flush=True)\n"
        "import os\nos._exit(0)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program.replace("enter(0, 60.0)\n", "enter(0, 60.0)\nimport os\n")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert ran.stdout == "no room\n", ran.stderr


def test_the_filter_jumps_to_its_last_step_for_every_number_on_the_list() -> None:
    """Run here as the kernel runs it."""
    allowed = {1, 5, 9, 231}
    code = filter_code(7, allowed)
    steps = [code[at : at + 8] for at in range(0, len(code), 8)]

    def outcome(arch: int, number: int) -> int:
        place, held = 0, 0
        while True:
            kind = int.from_bytes(steps[place][0:2], sys.byteorder)
            yes, no = steps[place][2], steps[place][3]
            value = int.from_bytes(steps[place][4:8], sys.byteorder)
            place += 1
            if kind == 0x20:
                held = {0: number, 4: arch}[value]
            elif kind == 0x06:
                return value
            else:
                is_so = held == value if kind == 0x15 else held >= value
                place += yes if is_so else no

    for number in range(300):
        assert (outcome(7, number) == 0x7FFF0000) == (number in allowed)
    assert outcome(8, 1) == 0x80000000
    assert outcome(7, 0x40000001) == 0x00050001
