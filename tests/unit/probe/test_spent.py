from __future__ import annotations

import subprocess
import sys
import time

import pytest

from pipeline.probe.spent import is_cpu_told, spent_s
from tests.support import wait_until

pytestmark = pytest.mark.skipif(not is_cpu_told(), reason="this kernel doesn't tell it")

COMPUTES = """
import sys, time
while time.process_time() < 0.3:
    pass
print("done", flush=True)
sys.stdin.read()
"""


def test_what_a_process_computed_counts_and_what_it_waited_does_not() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMPUTES], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"done\n"
        time.sleep(0.2)
        spent = spent_s(process.pid)
        assert 0.3 <= spent < 0.45
        process.stdin.close()
        process.wait()
        assert spent_s(process.pid) == 0.0


def test_what_its_child_computes_counts_too() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    with subprocess.Popen(
        [sys.executable, "-c", script, COMPUTES], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"done\n"
        wait_until(lambda: spent_s(process.pid) >= 0.3)
        process.stdin.close()
