from __future__ import annotations

import ctypes
import io
import os
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from pipeline.artifact.registry import Registry
from pipeline.artifact.verify import check_golden
from pipeline.batch import BucketPlan, buckets
from pipeline.clock import SystemClock
from pipeline.engine import halving
from pipeline.engine.base import EngineFailed, EngineOutOfMemory
from pipeline.engine.device import allocate_batch, choose_device
from pipeline.engine.halving import refuse_at_once, score_halving
from pipeline.engine.loading import Loader
from pipeline.engine.scoring import best_predictions, softmax_nk
from pipeline.engine.torchscript import load_torchscript
from pipeline.errors import ArtifactRefused, ConfigError, DeviceFull
from pipeline.types import BatchNhwc, LogitsNk
from tests.artifacts import expected_logits, golden_inputs, publish_tiny, tiny_model_bytes
from tests.devices import on_each_device


@on_each_device
def test_scores_are_the_networks_own_for_every_batch_size(device: str) -> None:
    engine = load_torchscript(tiny_model_bytes(), device)
    engine.warm(buckets(8), (24, 24, 3))
    for count in range(1, 9):
        batch_nhwc = allocate_batch((count, 24, 24, 3), device)
        batch_nhwc[:] = golden_inputs(count=count)
        got_nk = engine.score(batch_nhwc)
        assert got_nk.dtype == np.float32
        assert np.abs(got_nk - expected_logits(batch_nhwc)).max() < 1e-4
    engine.close()
    engine.close()


def test_bytes_that_are_no_network_are_refused() -> None:
    good = tiny_model_bytes()
    for data in (b"", b"junk", good[: len(good) // 2]):
        with pytest.raises(ArtifactRefused) as refusal:
            load_torchscript(data, "cpu")
        assert refusal.value.reason == "corrupt"


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one core")
def test_a_thread_of_its_own_computes_with_as_many_threads_as_were_set() -> None:
    """OpenMP counts by thread, and one that torch split no work on has all cores."""
    [openmp] = {
        line.split()[-1]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "/torch/lib/libgomp" in line
    }
    engine = load_torchscript(tiny_model_bytes(), "cpu")
    found: list[int] = []

    def score() -> None:
        engine.score(golden_inputs(count=1))
        found.append(ctypes.CDLL(openmp).omp_get_max_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        thread = threading.Thread(target=score)
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(before)
    assert found == [1]


def test_an_error_of_the_network_is_told_from_others() -> None:
    class Raises(torch.nn.Module):
        def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
            raise ValueError("no")

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Raises()), buffer)
    engine = load_torchscript(buffer.getvalue(), "cpu")
    with pytest.raises(EngineFailed):
        engine.score(np.zeros((1, 4, 4, 3), np.uint8))


class _Vgg(torch.nn.Module):
    """What follows a VGG's convolutions: pooling to 7×7, also of fewer pixels, then a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=8)
        self.pool = torch.nn.AdaptiveAvgPool2d((7, 7))
        self.linear = torch.nn.Linear(8 * 7 * 7, 3)

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        pooled_nchw = self.pool(self.conv(batch_nhwc.permute(0, 3, 1, 2).float() / 255).relu())
        return self.linear(torch.flatten(pooled_nchw, 1))


@on_each_device
@pytest.mark.parametrize("side", [24, 56, 96])
def test_a_network_that_torch_optimises_into_one_it_cannot_run_is_run_as_published(
    device: str, side: int
) -> None:
    network = _Vgg().eval()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.freeze(torch.jit.script(network)), buffer)
    engine = load_torchscript(buffer.getvalue(), device)
    engine.warm((1, 4), (side, side, 3))
    batch_nhwc = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), np.uint8)
    with torch.inference_mode():
        expected_nk = network(torch.from_numpy(batch_nhwc)).numpy()
    assert np.abs(engine.score(batch_nhwc) - expected_nk).max() < 1e-4
    engine.close()


def test_a_loaded_model_is_measured_for_every_bucket(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path))
    publish_tiny(registry, "tiny")
    artifact = registry.read("tiny", 1)
    model = Loader("cpu", BucketPlan.of(6, max_wait_s=0.0), SystemClock()).load(artifact, epoch=3)
    assert set(model.infer_s) == {1, 2, 4, 6}
    assert model.most_frames == 6
    assert all(taken_s > 0 for taken_s in model.infer_s.values())
    assert (model.identity.version, model.identity.epoch) == (1, 3)
    assert model.identity.sha256 == artifact.manifest.sha256
    check_golden(model.engine, artifact)


@pytest.mark.parametrize(("max_wait_s", "most"), [(60.0, 64), (0.0, 32)])
def test_a_quick_network_is_warmed_for_larger_batches(
    tmp_path: Path, max_wait_s: float, most: int
) -> None:
    registry = Registry(str(tmp_path))
    publish_tiny(registry, "tiny")
    plan = BucketPlan.of(0, max_wait_s)
    model = Loader("cpu", plan, SystemClock()).load(registry.read("tiny", 1), epoch=1)
    assert model.most_frames == most


class SmallEngine:
    """An engine with room for a few rows, that raises on rows which begin with 255."""

    device = "cpu"

    def __init__(self, room: int) -> None:
        self.room = room

    def warm(self, buckets: tuple[int, ...], sample_shape_hwc: tuple[int, int, int]) -> None:
        """Needs none."""

    def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
        if len(batch_nhwc) > self.room:
            raise EngineOutOfMemory(f"{len(batch_nhwc)} rows")
        firsts = batch_nhwc[:, 0, 0, 0]
        if (firsts == 255).any():
            raise EngineFailed("too bright")
        return np.stack([firsts, -firsts.astype(np.int16)], axis=1).astype(np.float32)

    def close(self) -> None:
        """Holds nothing."""


def rows(*firsts: int) -> BatchNhwc:
    return np.array(firsts, np.uint8).reshape(-1, 1, 1, 1).repeat(3, axis=3)


def test_a_batch_without_room_is_halved() -> None:
    got_nk = score_halving(SmallEngine(room=2), rows(1, 2, 3, 4, 5), classes=2, most=8)
    assert got_nk[:, 0].tolist() == [1, 2, 3, 4, 5]


def test_a_batch_that_was_filled_for_another_model_is_scored_in_parts() -> None:
    class Noting(SmallEngine):
        sizes: ClassVar[list[int]] = []

        def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
            self.sizes.append(len(batch_nhwc))
            return super().score(batch_nhwc)

    got_nk = score_halving(Noting(room=8), rows(*range(8)), classes=2, most=2)
    assert got_nk[:, 0].tolist() == list(range(8))
    assert Noting.sizes == [2, 2, 2, 2]


def test_a_device_without_room_for_one_row_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halving, "_ROOM_MAY_COME_S", (0.0, 0.0))
    with pytest.raises(DeviceFull, match="a single frame"):
        score_halving(SmallEngine(room=0), rows(1, 2), classes=2, most=8)


def test_a_row_that_takes_more_memory_than_others_is_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy(SmallEngine):
        def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
            if (batch_nhwc == 7).any():
                raise EngineOutOfMemory("a 7")
            return super().score(batch_nhwc)

    monkeypatch.setattr(halving, "_ROOM_MAY_COME_S", (0.0,))
    got_nk = score_halving(Greedy(room=8), rows(1, 7, 3), classes=2, most=8)
    assert got_nk[[0, 2], 0].tolist() == [1, 3]
    assert np.isnan(got_nk[1]).all()


def test_without_a_wait_a_row_without_room_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Greedy(SmallEngine):
        tries = 0

        def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
            if (batch_nhwc == 7).any():
                self.tries += 1
                raise EngineOutOfMemory("a 7")
            return super().score(batch_nhwc)

    monkeypatch.setattr(halving, "_ROOM_MAY_COME_S", (60.0,))
    engine = Greedy(room=8)
    with pytest.raises(DeviceFull, match="no memory for a single frame"):
        score_halving(engine, rows(1, 7), classes=2, most=8, when_full=refuse_at_once)
    assert engine.tries == 2  # in the batch, and alone


def test_halves_of_different_shapes_are_nan() -> None:
    class Odd(SmallEngine):
        def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
            return np.pad(super().score(batch_nhwc), ((0, 0), (0, 1)))

    got_nk = score_halving(Odd(room=8), rows(1, 255, 3, 4), classes=2, most=8)
    assert got_nk.shape == (4, 2)
    assert np.isnan(got_nk).all()


@pytest.mark.parametrize("shape", [(), (1, 2), (3, 2)])
def test_halves_of_other_rows_are_nan(shape: tuple[int, ...]) -> None:
    class Other(SmallEngine):
        def score(self, batch_nhwc: BatchNhwc) -> LogitsNk:
            is_second = bool(shape) and batch_nhwc[0, 0, 0, 0] > 2
            return np.zeros((4 - shape[0], 2) if is_second else shape, np.float32)

    got_nk = score_halving(Other(room=8), rows(1, 2, 3, 4), classes=2, most=2)
    assert got_nk.shape == (4, 2)  # as many rows together as there should be, but whose?
    assert np.isnan(got_nk).all()


def test_the_row_on_which_the_network_raises_is_nan_and_the_others_are_scored() -> None:
    got_nk = score_halving(SmallEngine(room=8), rows(1, 255, 3), classes=2, most=8)
    assert got_nk[[0, 2], 0].tolist() == [1, 3]
    assert np.isnan(got_nk[1]).all()


def test_devices_are_named_or_chosen() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") in ("cpu", "cuda:0")
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda"):
        choose_device("gpu please")
    with pytest.raises(ConfigError, match="isn't there"):
        choose_device("cuda:99")


def test_confidences_add_up_to_one_whatever_the_logits() -> None:
    logits_nk = np.array([[1e30, 0, -1e30], [0, 0, 0], [-5, 2, 1]], np.float32)
    assert np.allclose(softmax_nk(logits_nk).sum(axis=1), 1)


def test_the_best_five_come_first_and_carry_their_labels() -> None:
    labels = tuple("abcdefgh")
    logits_nk = np.array([[0, 7, 1, 6, 2, 5, 3, 4]], np.float32)
    (best,) = best_predictions(logits_nk, labels)
    assert [each.label for each in best] == ["b", "d", "f", "h", "g"]
    assert [each.class_id for each in best] == [1, 3, 5, 7, 6]
    assert best[0].confidence > best[1].confidence
    assert best[:2] == (best[0], best[1])
    assert len(best) == 5
    (few,) = best_predictions(np.array([[0.0, 1.0]], np.float32), ("x", "y"))
    assert [each.label for each in few] == ["y", "x"]
