"""The demo's folder of temporary files: gone with the demo, and never taken from a living one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline.cli.demo_folder import demo_folder
from tests.support import wait_until

HOLD_A_FOLDER = """
import subprocess, sys
from pathlib import Path
from pipeline.cli.demo_folder import demo_folder
with demo_folder(Path(sys.argv[1])) as mine:
    if len(sys.argv) > 2:
        subprocess.Popen(["cat"], pass_fds=(mine.lock_fd,))
    print(mine.path, flush=True)
    sys.stdin.read()
"""


def test_it_is_removed_at_the_end(tmp_path: Path) -> None:
    with demo_folder(tmp_path) as mine:
        assert mine.path.parent == tmp_path
        (mine.path / "registry").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_only_the_folders_of_dead_demos_are_removed(tmp_path: Path) -> None:
    alive, killed = _another_demo(tmp_path), _another_demo(tmp_path)
    kept, left = _said(alive), _said(killed)
    (left / "registry").mkdir()
    killed.kill()
    killed.communicate()
    assert left.exists()
    (tmp_path / "headrace-demo-of-somebody").mkdir()
    (tmp_path / "headrace-demo-link").symlink_to(kept)
    (tmp_path / "headrace-demo-file").touch()
    with demo_folder(tmp_path) as mine:
        there = {each.name for each in tmp_path.iterdir()}
    others = {"headrace-demo-of-somebody", "headrace-demo-link", "headrace-demo-file"}
    assert there == others | {mine.path.name, kept.name}
    alive.communicate("")
    assert not kept.exists()


def test_a_folder_is_kept_while_a_child_of_a_dead_demo_writes_into_it(tmp_path: Path) -> None:
    killed = _another_demo(tmp_path, "with-child")
    left = _said(killed)
    killed.kill()
    killed.wait()
    with demo_folder(tmp_path):
        assert left.exists()
    killed.communicate("")  # what the child waits for

    def is_removed() -> bool:
        with demo_folder(tmp_path):
            return not left.exists()

    wait_until(is_removed)


def _another_demo(root: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD_A_FOLDER, str(root), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def _said(demo: subprocess.Popen[str]) -> Path:
    assert demo.stdout is not None
    return Path(demo.stdout.readline().strip())
