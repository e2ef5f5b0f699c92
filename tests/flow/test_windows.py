"""Grey pictures of 16 bits: from a folder through training and an artifact to a worker's rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from typer.testing import CliRunner

from pipeline.opencv import cv2
from pipeline.preprocess import load_sample
from tests.flow.rig import Rig
from trainer.__main__ import app

FINDING, TISSUE, NOISE = 300, 2000, 40
"""In values of the scanner's: the finding is a square, a hundredth of the whole range brighter."""


def scan(rng: np.random.Generator, *, has_finding: bool) -> np.ndarray:
    pixels_hw = rng.normal(TISSUE, NOISE, (48, 48))
    if has_finding:
        top, left = rng.integers(4, 24, 2)
        pixels_hw[top : top + 20, left : left + 20] += FINDING
    return pixels_hw.astype(np.uint16)


def save_scans(folder: Path) -> None:
    rng = np.random.default_rng(5)
    for part, count in (("train", 40), ("val", 10), ("stream", 8)):
        for number in range(count):
            kind = ("clear", "finding")[number % 2]
            path = folder / part / ("" if part == "stream" else kind) / f"{number:02}-{kind}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), scan(rng, has_finding=kind == "finding"))


def test_what_is_in_a_hundredth_of_the_range_is_learnt_and_found_through_the_window(
    rig: Rig, tmp_path: Path
) -> None:
    scans = tmp_path / "scans"
    save_scans(scans)
    command = ["train", "--data", str(scans), "--size", "24x24", "--run", str(tmp_path / "run")]
    command += ["--net", "tests.flow.one_channel:one_channel", "--channels", "1", "--grayscale"]
    command += ["--window", "1800,2500", "--epochs", "12", "--batch-size", "10", "--lr", "0.05"]
    command += ["--publish", "scans", "--registry", rig.registry.url]
    ran = CliRunner().invoke(app, command, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    artifact = rig.registry.read("scans", 1)
    spec = artifact.manifest.contract.preprocess
    assert (spec.window, spec.grayscale) == ((1800, 2500), True)
    assert artifact.manifest.notes["channels"] == "1"

    rig.model = "scans"
    eight_bits = scans / "stream" / "99-eight-bits.png"
    assert cv2.imwrite(str(eight_bits), np.full((48, 48), 99, np.uint8))
    summary = rig.worker(f"dir:{scans / 'stream'}").run()
    assert (summary.received, summary.scored, summary.rejected) == (9, 8, 1)

    *rows, last = rig.rows()
    assert last["reason"] == "unsupported_type"
    assert "1800 to 2500" in last["detail"]
    network = torch.jit.load(str(tmp_path / "registry" / "scans" / "1" / "model.pt"))
    streamed = sorted((scans / "stream").iterdir())[:-1]
    for path, row in zip(streamed, rows, strict=True):
        assert row["top"] == path.stem[3:]
        sample_hwc = torch.from_numpy(load_sample(path.read_bytes(), spec))
        with torch.inference_mode():
            expected = network(sample_hwc[None]).softmax(1)[0].tolist()
        got = {each["class_id"]: each["confidence"] for each in row["predictions"]}
        assert np.abs([got[k] - expected[k] for k in range(2)]).max() < 1e-4
