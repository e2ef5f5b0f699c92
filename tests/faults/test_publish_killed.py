"""kill -9 in the middle of a publish: no reader ever sees half of an artifact."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline.artifact.registry import Registry
from pipeline.artifact.triton import config_pbtxt
from tests.faults.dying_publishers import LAST_STEP, draft_of

KILLS = 40
ROOT = Path(__file__).parents[2]


def _publisher(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.dying_publishers", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _read_everything(registry: Registry, already: set[int]) -> None:
    """Reads each version that is listed and not read yet, and whatever the aliases stand for."""
    aliases = registry.aliases("net")
    versions = registry.versions("net")
    for version in [version for version in versions if version not in already]:
        assert registry.read("net", version).manifest.version == version
        already.add(version)
    # Asked before the versions were: an alias never stands for one that isn't whole.
    assert set(aliases.values()) <= set(versions)
    for selector in ("", *aliases):
        version = registry.resolve("net", selector)
        if version not in already:
            registry.read("net", version)


def test_readers_see_whole_artifacts_while_publishers_are_killed(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path))
    registry.publish(draft_of(1000), aliases=("latest", "prod"))
    read: set[int] = set()
    with _publisher(str(tmp_path), "random", str(KILLS), "4") as publisher:
        while publisher.poll() is None:
            _read_everything(registry, read)
    assert publisher.returncode == 0
    _read_everything(registry, read)
    taken = [int(path.name) for path in (tmp_path / "net").iterdir() if path.is_dir()]
    # Otherwise the test was none: some publishes succeeded, some were cut off.
    assert 1 < len(read) < len(taken)
    assert registry.publish(draft_of(1000)).version == max(taken) + 1


def test_a_death_before_each_step_leaves_the_old_version_or_the_new_one(tmp_path: Path) -> None:
    with _publisher(str(tmp_path), "steps") as publisher:
        lines = publisher.communicate(timeout=100)[0].split("\n")[:-1]
    assert len(lines) == LAST_STEP + 1
    assert lines[-1] == f"{LAST_STEP} lived"
    seen = set()
    for line in lines:
        step, ended = line.split()
        registry = Registry(str(tmp_path / f"step{step}"))
        _read_everything(registry, set())
        versions, aliases = registry.versions("net"), registry.aliases("net")
        seen.add((len(versions), aliases["latest"], aliases["prod"]))
        if ended == "lived":
            assert (versions, aliases) == ([1, 2], {"latest": 2, "prod": 2})
        # The next publisher isn't held up by a lock or a folder that the dead one left.
        third = registry.publish(draft_of(1000), aliases=("latest", "prod"))
        assert registry.aliases("net") == {"latest": third.version, "prod": third.version}
        assert not list((tmp_path / f"step{step}" / "net").glob(".writing-*"))
    assert seen == {(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2)}


def test_processes_that_publish_at_once_get_distinct_versions(tmp_path: Path) -> None:
    publishers = [_publisher(str(tmp_path), "count", "15") for _ in range(2)]
    versions = []
    for publisher in publishers:
        with publisher:
            versions += [int(line) for line in publisher.communicate(timeout=100)[0].split()]
        assert publisher.returncode == 0
    assert sorted(versions) == list(range(1, 31))
    registry = Registry(str(tmp_path))
    assert registry.versions("net") == list(range(1, 31))
    assert registry.aliases("net") == {"latest": 30}
    _read_everything(registry, set())
    written = (tmp_path / "net" / "config.pbtxt").read_text()
    assert written == config_pbtxt("net", registry.manifest("net", 30).contract)
