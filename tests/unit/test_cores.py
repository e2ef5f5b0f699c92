"""How much CPU a process may take, as Linux says it in two versions of control groups."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pipeline.cores import usable_cores, usable_share

CORES = len(os.sched_getaffinity(0))


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """One whose kernel says this of our process and of its groups."""
    for path, text in {"proc/self/cgroup": groups, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def v1(folder: str, quota: int) -> dict[str, str]:
    where = f"sys/fs/cgroup/{folder}"
    return {
        f"{where}/cpu.cfs_quota_us": f"{quota}\n",
        f"{where}/cpu.cfs_period_us": "100000\n",
    }


@pytest.mark.parametrize(
    ("groups", "files", "share"),
    [
        ("", {}, CORES),
        ("0::/\n", {}, CORES),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, CORES),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "6400000 100000\n"}, 64.0),
        ("0::/a/b\n", {"sys/fs/cgroup/a/cpu.max": "20000 50000\n"}, 0.4),
        (
            "0::/a/b\n",
            {
                "sys/fs/cgroup/a/cpu.max": "90000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "80000 100000\n",
            },
            0.8,
        ),
        ("0::/host/says/so\n", {"sys/fs/cgroup/cpu.max": "70000 100000\n"}, 0.7),
        ("2:cpuacct:/\n1:cpu:/\n0::/\n", v1("cpu", -1), CORES),
        ("4:memory:/x\n1:cpu:/pod\n0::/\n", v1("cpu/pod", 25000), 0.25),
        ("3:cpu,cpuacct:/docker/1f\n", v1("cpu,cpuacct", 60000), 0.6),
        ("3:cpuset:/\n", v1("cpuset", 60000), CORES),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "nonsense\n"}, CORES),
    ],
)
def test_the_tightest_limit_around_the_process_is_its_share(
    tmp_path: Path, groups: str, files: dict[str, str], share: float
) -> None:
    assert usable_share(machine(tmp_path, groups, files)) == pytest.approx(min(share, CORES))


def test_a_core_that_is_had_in_part_is_one_to_have_threads_on() -> None:
    assert usable_cores() == max(1, math.ceil(usable_share()))


@contextmanager
def a_group_of_half_a_core() -> Iterator[Path]:
    """Gives the file that a process writes its number to, to be in it."""
    top = Path("/sys/fs/cgroup")
    limits = {
        top / "cpu": {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"},
        top: {"cpu.max": "50000 100000"},
    }
    for parent, files in limits.items():
        group = parent / f"headrace-test-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
        try:
            if _written(group, files):
                yield group / "cgroup.procs"
                return
        finally:
            with suppress(OSError):
                group.rmdir()
    pytest.skip("no control group for CPU can be made here")


def _written(group: Path, files: dict[str, str]) -> bool:
    try:
        for name, text in files.items():
            (group / name).write_text(text)
    except OSError:
        return False
    return True


def test_a_process_in_a_group_with_a_limit_knows_it() -> None:
    """A real one, where this machine lets us make it."""
    script = "from pipeline.cores import usable_cores, usable_share; "
    script += "print(usable_share(), usable_cores())"
    with a_group_of_half_a_core() as procs:
        ran = subprocess.run(
            [
                *("sh", "-c", f'echo $$ > "{procs}" && exec "$@"', "sh"),
                *(sys.executable, "-c", script),
            ],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
    assert ran.stdout.split() == ["0.5", "1"]
