from __future__ import annotations

import base64
import io
import json
import threading
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator

from pipeline.artifact.artifact import Draft, Golden
from pipeline.artifact.manifest import Contract
from pipeline.config import DecodeSettings
from pipeline.errors import ArtifactRefused, ConfigError
from pipeline.opencv import cv2
from pipeline.preprocess import load_sample, write_bgr_sample
from tests.artifacts import LABELS, SPEC, expected_logits, golden_inputs, publish_tiny
from tests.flow.rig import Rig, balanced
from tests.pictures import corners, encode, hanging, with_size
from tests.support import noise_jpeg, wait_until

VALIDATOR = Draft202012Validator(
    json.loads(files("pipeline.schema").joinpath("result.schema.json").read_text())
)


def softmax(logits_nk: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits_nk - logits_nk.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def test_a_clip_gives_one_row_a_frame_in_order_with_the_right_scores(rig: Rig, clips: Path) -> None:
    clip = clips / "bikes.mp4"
    summary = rig.worker(str(clip)).run()
    rows = rig.rows()
    assert (summary.received, summary.scored, summary.in_flight) == (250, 250, 0)
    assert summary.exit_code == 0
    assert [row["source"]["offset"] for row in rows] == list(range(250))
    assert {row["frame_id"] for row in rows} == {f"bikes.mp4/0/{k}" for k in range(250)}
    video = cv2.VideoCapture(str(clip))
    for row in rows:
        VALIDATOR.validate(row)
        is_read, image_hwc = video.read()
        assert is_read
        sample_hwc = np.empty(SPEC.sample_shape_hwc, np.uint8)
        write_bgr_sample(image_hwc, SPEC, sample_hwc)
        expected = softmax(expected_logits(sample_hwc[None]))[0]
        got = {each["class_id"]: each["confidence"] for each in row["predictions"]}
        assert np.abs([got[k] - expected[k] for k in range(len(LABELS))]).max() < 1e-4
        assert row["image"] == {"width": 640, "height": 272}
    video.release()


def test_each_result_names_the_bytes_that_computed_it(rig: Rig) -> None:
    rig.worker(sources=[rig.memory([noise_jpeg()], 20)]).run()
    manifest = rig.registry.manifest("tiny", 1)
    assert {json.dumps(row["model"]) for row in rig.rows()} == {
        json.dumps({"name": "tiny", "version": 1, "sha256": manifest.sha256, "epoch": 1})
    }


def test_bad_frames_are_rejected_with_their_reason_and_nothing_else_is_lost(rig: Rig) -> None:
    folder = rig.folder / "pictures"
    folder.mkdir()
    good = noise_jpeg(320, 240)
    bad = {
        "b-text.txt": (b"shopping list", "unsupported_type"),
        "c-empty.jpg": (b"", "empty"),
        "d-cut.jpg": (good[: len(good) // 2], "corrupt"),
        "e-bomb.jpg": (with_size(good, 60000, 60000), "too_many_pixels"),
    }
    for name in ("a.jpg", "f.png", "g.webp", "h.jpg"):
        data = good if name.endswith("jpg") else encode(corners(), Path(name).suffix)
        (folder / name).write_bytes(data)
    for name, (data, _reason) in bad.items():
        (folder / name).write_bytes(data)
    summary = rig.worker(f"dir:{folder}").run()
    rows = rig.rows()
    assert (summary.received, summary.scored, summary.rejected) == (8, 4, 4)
    assert summary.exit_code == 0
    assert [row["source"]["offset"] for row in rows] == list(range(8))
    assert [row["reason"] for row in rows if row["outcome"] == "rejected"] == [
        reason for _data, reason in bad.values()
    ]
    for row in rows:
        VALIDATOR.validate(row)
    letters = (rig.folder / "out.dlq.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in letters] == [r for _d, r in bad.values()]


def test_several_sources_of_one_name_are_told_apart(rig: Rig, clips: Path) -> None:
    clip = str(clips / "carphone_pristine.mp4")
    summary = rig.worker(clip, clip).run()
    rows = rig.rows()
    streams = {row["stream"] for row in rows}
    assert len(streams) == 2
    assert len({row["frame_id"] for row in rows}) == len(rows) == summary.scored
    for stream in streams:
        offsets = [row["source"]["offset"] for row in rows if row["stream"] == stream]
        assert offsets == list(range(len(rows) // 2))


def test_a_limit_of_frames_holds_over_all_sources(rig: Rig) -> None:
    sources = [rig.memory([noise_jpeg()], 10**9, name=name) for name in ("a", "b", "c")]
    worker = rig.worker(sources=sources, lifecycle={"max_frames": 101})
    summary = worker.run()
    assert (summary.received, summary.scored) == (101, 101)
    assert len(rig.rows()) == 101


def test_a_stop_finishes_what_is_in_flight(rig: Rig) -> None:
    worker = rig.worker(sources=[rig.memory([noise_jpeg(640, 360)], 10**9)])
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 50)
    worker.stop()
    summary = rig.finish(summaries)
    assert (summary.exit_code, summary.in_flight) == (0, 0)
    assert summary.received == summary.scored == len(rig.rows())


def test_abandoning_leaves_the_rest_counted_as_in_flight(rig: Rig) -> None:
    worker = rig.worker(sources=[rig.memory([noise_jpeg(640, 360)], 10**9)])
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 50)
    worker.abandon()
    summary = rig.finish(summaries)
    assert balanced(worker.counts())
    if summary.in_flight:
        assert summary.exit_code == 1
        assert "stay uncommitted" in str(summary.error)


def test_the_identity_of_the_counters_holds_whenever_somebody_looks(rig: Rig) -> None:
    pictures = [noise_jpeg(), b"junk"]
    worker = rig.worker(sources=[rig.memory(pictures, 3000)])
    summaries = rig.start(worker)
    looks = 0
    while not summaries:
        assert balanced(worker.counts())
        looks += 1
    summary = rig.finish(summaries)
    assert looks > 20
    assert (summary.scored, summary.rejected) == (1500, 1500)


def test_credits_bound_what_is_in_flight(rig: Rig) -> None:
    worker = rig.worker(
        sources=[rig.memory([noise_jpeg()], 2000)], intake={"max_frames": 16, "poll_frames": 50}
    )
    summaries = rig.start(worker)
    most = 0
    while not summaries:
        most = max(most, worker.counts().in_flight)
    rig.finish(summaries)
    assert 0 < most <= 16


def test_several_sources_overdraw_the_credits_by_a_poll_each_at_the_most(rig: Rig) -> None:
    sources = [rig.memory([noise_jpeg(640, 480)], 300, name=f"s{k}") for k in range(4)]
    worker = rig.worker(sources=sources, intake={"max_frames": 16, "poll_frames": 8})
    summaries = rig.start(worker)
    most = 0
    while not summaries:
        most = max(most, worker.counts().in_flight)
    assert rig.finish(summaries).scored == 4 * 300
    assert 0 < most <= 16 + 3 * 8


def test_live_frames_are_shed_by_reason_and_never_silently(rig: Rig) -> None:
    """Frames come far faster than they can be scored: each is scored fresh, or shed."""
    source = rig.memory([noise_jpeg(640, 360)], 20_000, name="cam", max_age_s=0.5)
    summary = rig.worker(sources=[source]).run()
    rows = rig.rows()
    assert summary.received == 20_000
    assert summary.scored + summary.shed == 20_000
    assert summary.shed > 0
    assert summary.in_flight == 0
    turned_away = summary.received - len(rows)
    assert turned_away <= summary.shed
    offsets = [row["source"]["offset"] for row in rows]
    assert offsets == sorted(offsets)
    for row in rows:
        VALIDATOR.validate(row)
        assert row["outcome"] in ("scored", "shed")
        assert not row["fresh"] or (row["outcome"] == "scored" and row["age_ms"] <= 500)


def test_ages_are_those_of_the_frames_that_were_scored(rig: Rig) -> None:
    source = rig.memory([noise_jpeg(1280, 720)], 3000, name="cam", max_age_s=0.01)
    worker = rig.worker(sources=[source])
    summary = worker.run()
    value = worker.metrics.registry.get_sample_value
    assert summary.shed > 0
    assert value("headrace_frame_age_seconds_count") == summary.scored


def test_a_model_that_raises_on_a_frame_spoils_only_that_frame(rig: Rig) -> None:
    class Picky(torch.nn.Module):
        def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
            mean_n = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3))
            if bool((mean_n > 250).any()):
                raise ValueError("too bright")
            return torch.stack([mean_n, -mean_n], dim=1)

    _publish_signs(rig, "picky", Picky())
    white = encode(np.full((48, 64, 3), 255, np.uint8), ".png")
    grey = encode(np.full((48, 64, 3), 100, np.uint8), ".png")
    summary = rig.worker(sources=[rig.memory([grey, grey, white, grey], 40)]).run()
    assert (summary.scored, summary.rejected) == (30, 10)
    rejected = [row for row in rig.rows() if row["outcome"] == "rejected"]
    assert {row["reason"] for row in rejected} == {"bad_output"}
    assert {row["source"]["offset"] % 4 for row in rejected} == {2}


def test_a_model_that_gives_nan_for_a_frame_gets_it_rejected(rig: Rig) -> None:
    class Nan(torch.nn.Module):
        def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
            mean_n = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3))
            mean_n = torch.where(mean_n > 250, mean_n / 0 - mean_n / 0, mean_n)
            return torch.stack([mean_n, -mean_n], dim=1)

    _publish_signs(rig, "nan", Nan())
    white = encode(np.full((48, 64, 3), 255, np.uint8), ".png")
    summary = rig.worker(sources=[rig.memory([noise_jpeg(), white], 20)]).run()
    assert (summary.scored, summary.rejected) == (10, 10)


def _publish_signs(rig: Rig, name: str, network: torch.nn.Module) -> None:
    """Publishes a network whose logits are the mean pixel and its negative."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network.eval()), buffer)
    inputs_nhwc = golden_inputs()
    mean_n = inputs_nhwc.astype(np.float32).mean(axis=(1, 2, 3))
    rig.registry.publish(
        Draft(
            name=name,
            model=buffer.getvalue(),
            golden=Golden(inputs_nhwc, np.stack([mean_n, -mean_n], axis=1)),
            contract=Contract.of(("a", "b"), SPEC),
            exported_by="script",
            torch_version=torch.__version__,
        )
    )
    rig.model = name


def test_a_worker_without_its_model_says_how_to_make_one(rig: Rig) -> None:
    rig.model = "nobody"
    with pytest.raises(ArtifactRefused, match="headrace train --publish nobody"):
        rig.worker(sources=[rig.memory([noise_jpeg()], 1)]).run()


def test_a_corrupt_model_never_scores(rig: Rig) -> None:
    path = rig.folder / "registry" / "tiny" / "1" / "model.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ArtifactRefused, match="sha256"):
        rig.worker(sources=[rig.memory([noise_jpeg()], 1)]).run()
    assert not rig.out.exists() or not rig.rows()


def test_a_worker_without_sources_is_wrong_use(rig: Rig) -> None:
    with pytest.raises(ConfigError, match="--source"):
        rig.worker()


def test_a_sink_in_a_folder_that_is_not_there_is_wrong_use(rig: Rig) -> None:
    worker = rig.worker(
        sources=[rig.memory([noise_jpeg()], 1)], sinks=(f"jsonl:{rig.folder}/no/out.jsonl",)
    )
    with pytest.raises(ConfigError, match="there is no folder"):
        worker.run()


def test_a_full_disk_ends_the_worker_with_its_reason_and_nothing_counted_as_done(
    rig: Rig,
) -> None:
    worker = rig.worker(
        sources=[rig.memory([noise_jpeg()], 500)],
        sinks=("jsonl:/dev/full",),
        sink={"retry_for_s": 0.5},
    )
    summary = worker.run()
    assert summary.exit_code == 1
    assert summary.scored == 0
    assert "No space left on device" in str(summary.error)
    assert balanced(worker.counts())


def test_a_drain_that_a_full_disk_holds_up_ends_with_the_sinks_reason(rig: Rig) -> None:
    worker = rig.worker(
        sources=[rig.memory([noise_jpeg()], 20)],
        sinks=("jsonl:/dev/full",),
        sink={"retry_for_s": 60.0},
        lifecycle={"drain_timeout_s": 0.5},
    )
    assert "No space left on device" in str(worker.run().error)


def test_samples_are_prepared_as_in_training(rig: Rig) -> None:
    """A JPEG through the whole path scores as the trainer's function prepared it."""
    data = noise_jpeg(640, 360, seed=3)
    rig.worker(sources=[rig.memory([data], 1)]).run()
    expected = softmax(expected_logits(load_sample(data, SPEC)[None]))[0]
    got = {each["class_id"]: each["confidence"] for each in rig.rows()[0]["predictions"]}
    assert np.abs([got[k] - expected[k] for k in range(len(LABELS))]).max() < 1e-5


def test_a_pinned_version_is_not_swapped(rig: Rig) -> None:
    rig.model = "tiny@1"
    worker = rig.worker(sources=[rig.memory([noise_jpeg()], 10**9)])
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    publish_tiny(rig.registry, "tiny", bias=1.0)
    so_far = worker.summary().scored
    wait_until(lambda: worker.summary().scored > so_far + 500)
    worker.stop()
    assert rig.finish(summaries).swaps == 0
    assert {row["model"]["version"] for row in rig.rows()} == {1}


def test_a_frame_whose_decoding_never_ends_is_rejected_and_those_behind_it_are_scored(
    rig: Rig,
) -> None:
    let_go = threading.Event()
    pictures = [hanging(let_go, 2), *[noise_jpeg()] * 29]
    worker = rig.worker(
        sources=[rig.memory(pictures, 30)], decode=DecodeSettings(threads=1, timeout_s=0.6)
    )
    try:
        summary = worker.run()
    finally:
        let_go.set()
    assert (summary.scored, summary.rejected, summary.exit_code) == (29, 1, 0)
    rows = rig.rows()
    for row in rows:
        VALIDATOR.validate(row)
    assert [row["source"]["offset"] for row in rows] == list(range(30))
    assert rows[0]["reason"] == "unfinished"
    letter = json.loads((rig.folder / "out.dlq.jsonl").read_text())
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(letter["payload"]), np.uint8), -1)
    assert (picture == 255).all()
    wait_until(lambda: not any(t.name.startswith("decode-") for t in threading.enumerate()))
