"""What the documents say is true: the README's commands run, links lead somewhere, metrics exist.

A ```sh block of the README that ``<!-- test -->`` stands before is run, all of them in one folder,
in their order. Words behind a plus, ``<!-- test + --epochs 1 -->``, are added to the block's last
command to make it short. The folder holds what the README speaks of as the reader's own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.metrics import FrameCounts, Metrics
from tests.clips import CARPHONE
from tests.support import noise_jpeg

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
CLASSES = 5

_BUILT = frozenset({".venv", "build", "dist", "node_modules", ".pytest_cache"})
_MARKED = re.compile(r"<!-- test(?: \+ (?P<more>[^>]*?))? -->\n```sh\n(?P<block>.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_METRIC = re.compile(r"\bheadrace_[a-z_]+[a-z]\b")
_ENDINGS = ("_bucket", "_sum", "_count")


@dataclass(frozen=True, slots=True)
class Done:
    """What a block printed on standard output, and its last line as JSON where it is some."""

    out: str

    @property
    def summary(self) -> dict[str, object]:
        return json.loads(self.out.splitlines()[-1])


def documents() -> list[Path]:
    """Every Markdown file of the checkout but those in what was built."""
    return [
        path
        for path in sorted(ROOT.rglob("*.md"))
        if not _BUILT & set(path.relative_to(ROOT).parts)
    ]


def marked_blocks() -> list[str]:
    """The README's runnable blocks, shortened as their markers say."""
    return [
        f"{found['block'].rstrip()} {found['more'] or ''}".rstrip()
        for found in _MARKED.finditer(README.read_text(encoding="utf-8"))
    ]


def make_readers_own(folder: Path) -> None:
    """Puts ``clip.mp4``, ``pictures/``, ``net.pt`` and ``labels.txt`` into ``folder``."""
    shutil.copy(CARPHONE, folder / "clip.mp4")
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(4):
        (pictures / f"{number}.jpg").write_bytes(noise_jpeg(seed=number))
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, CLASSES),
    )  # fmt: skip
    torch.jit.script(network.eval()).save(str(folder / "net.pt"))
    (folder / "labels.txt").write_text("".join(f"thing {i}\n" for i in range(CLASSES)))


def run(block: str, folder: Path) -> Done:
    """Runs a block as a reader would: in bash, with the commands of this Python in reach."""
    commands = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", block],
        cwd=folder,
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, f"{block}\ngave {done.returncode}: {done.stdout}{done.stderr}"
    return Done(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_readmes_commands_run_one_after_the_other(tmp_path: Path) -> None:
    make_readers_own(tmp_path)
    done = {block: run(block, tmp_path) for block in marked_blocks()}
    [on_video] = [each for block, each in done.items() if "results.jsonl" in block]
    assert '"received": 120, "scored": 120, "shed": 0, "rejected": 0' in on_video.out
    rows = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["source"]["offset"] for row in rows] == list(range(120))
    [demo] = [each for block, each in done.items() if "headrace demo" in block]
    summary = demo.summary
    assert summary["received"], "the demo showed no frame"
    outcomes = [summary[name] for name in ("scored", "shed", "rejected", "in_flight")]
    assert summary["received"] == sum(int(str(number)) for number in outcomes)


def test_every_verb_of_the_command_is_in_the_readme_or_the_documents() -> None:
    from pipeline.cli.app import VERBS

    said = "".join(path.read_text(encoding="utf-8") for path in documents())
    assert [verb.name for verb in VERBS if f"headrace {verb.name}" not in said] == []


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_links_within_the_documents_lead_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {found['target']}"
        for path in documents()
        for found in _LINK.finditer(path.read_text(encoding="utf-8"))
        if "://" not in found["target"] and not _leads_somewhere(path, found["target"])
    ]
    assert broken == []


def test_every_metric_that_is_named_exists() -> None:
    there = metric_names()
    unknown = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in documents()
        for name in _METRIC.findall(path.read_text(encoding="utf-8"))
        if not is_metric(name, there)
    }
    assert unknown == set()


def metric_names() -> set[str]:
    """The names of all metrics as a scrape shows them, without histograms' endings."""
    metrics = Metrics()
    metrics.watch_frames(lambda: FrameCounts({}, {}, {}, {}, 0))
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in metrics.registry.collect()
    }


def is_metric(name: str, there: set[str]) -> bool:
    return name in there or any(name.removesuffix(ending) in there for ending in _ENDINGS)


def _leads_somewhere(path: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    there = path if not file else path.parent / file
    if not there.exists():
        return False
    return not anchor or anchor in _anchors(there)


def _anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }
