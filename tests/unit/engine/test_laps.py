from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifact.manifest import Manifest
from pipeline.artifact.registry import Registry
from pipeline.engine import laps
from pipeline.engine.laps import KeptRaces, Lap, Raced, Runner, fastest, runners_of
from tests.artifacts import publish_tiny, tiny_draft, with_onnx

TORCH, ONNX = Runner("torchscript", 1), Runner("onnxruntime", 1)


def test_the_usual_number_of_threads_comes_first_and_none_twice() -> None:
    assert runners_of(["torchscript"], 0, cores=1) == [TORCH]
    both = runners_of(["torchscript", "onnxruntime"], 0, cores=2)
    assert both == [TORCH, Runner("torchscript", 2), ONNX, Runner("onnxruntime", 2)]
    assert [each.threads for each in runners_of(["torchscript"], 0, cores=8)] == [7, 1, 8]
    assert runners_of(["onnxruntime"], 3, cores=8) == [Runner("onnxruntime", 3)]


def test_the_one_that_takes_the_least_time_wins() -> None:
    slow, quick = Lap(TORCH, {1: 2.0, 32: 4.0}), Lap(ONNX, {1: 1.0, 32: 3.0})
    assert fastest([slow, quick]) == ONNX
    assert fastest([quick, slow]) == ONNX


def test_sizes_count_alike() -> None:
    """Half the time for one frame weighs more than a fifth more for 32."""
    assert fastest([Lap(TORCH, {1: 0.001, 32: 1.0}), Lap(ONNX, {1: 0.0005, 32: 1.2})]) == ONNX


def test_what_is_hardly_quicker_than_the_first_one_does_not_win() -> None:
    assert fastest([Lap(TORCH, {1: 1.0}), Lap(ONNX, {1: 0.97})]) == TORCH
    assert fastest([Lap(TORCH, {1: 1.0}), Lap(ONNX, {1: 0.9})]) == ONNX


def test_sizes_that_one_did_not_run_do_not_count() -> None:
    assert fastest([Lap(TORCH, {1: 1.0}), Lap(ONNX, {1: 1.5, 8: 0.1})]) == TORCH


def test_one_that_may_not_run_it_does_not_win() -> None:
    wrong = Lap(ONNX, {}, "a logit is 1 off")
    assert fastest([Lap(TORCH, {1: 1.0}), wrong]) == TORCH
    assert fastest([Lap(TORCH, {}, "no"), Lap(ONNX, {1: 9.0})]) == ONNX
    assert fastest([Lap(TORCH, {}, "no"), wrong]) == TORCH


@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=5))
def test_the_winner_is_one_of_them_and_none_is_clearly_quicker(times: list[float]) -> None:
    raced = [Lap(Runner("onnxruntime", n + 1), {1: each}) for n, each in enumerate(times)]
    won = times[fastest(raced).threads - 1]
    assert won * 0.95 <= min(times) * (1 + 1e-9)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return publish_tiny(Registry(str(tmp_path / "registry")))


def race_of(*laps: Lap) -> Raced:
    return Raced((1, 32), 3, laps)


def test_a_race_is_kept_by_network_and_cores(manifest: Manifest, tmp_path: Path) -> None:
    kept = KeptRaces(tmp_path / "a" / "b")
    assert kept.of(manifest, 2) is None
    raced = race_of(Lap(TORCH, {1: 0.25, 32: 1.5}), Lap(ONNX, {1: 0.5}))
    kept.keep(manifest, 2, raced)
    assert kept.of(manifest, 2) == raced
    assert kept.of(manifest, 4) is None
    registry = Registry(str(tmp_path / "registry"))
    assert kept.of(publish_tiny(registry, bias=0.5), 2) is None
    assert kept.of(registry.publish(with_onnx(tiny_draft())), 2) is None
    renamed = registry.publish(replace(tiny_draft(), name="again"))
    assert kept.of(renamed, 2) == raced  # the same network under another name
    assert len(list((tmp_path / "a" / "b").iterdir())) == 1


def test_another_race_would_have_been_run_under_other_conditions() -> None:
    raced = race_of(Lap(TORCH, {1: 0.25}), Lap(ONNX, {1: 0.5}))
    assert raced.says([TORCH, ONNX], (1, 32), 3)
    assert not raced.says([TORCH], (1, 32), 3)
    assert not raced.says([TORCH, ONNX], (1, 8), 3)
    assert not raced.says([TORCH, ONNX], (1, 32), 2)


def test_a_race_that_somebody_did_not_end_is_not_kept(manifest: Manifest, tmp_path: Path) -> None:
    """It may have had no memory at that moment."""
    kept = KeptRaces(tmp_path / "races")
    kept.keep(manifest, 2, race_of(Lap(TORCH, {1: 0.25}), Lap(ONNX, {}, "no memory")))
    assert kept.of(manifest, 2) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[{}]",
        b'{"sizes": [1], "decode_threads": 1, "laps": []}',
        b'{"sizes": [1], "decode_threads": 1, "laps":'
        b' [{"runner": {"backend": "magic", "threads": 1}, "batch_s": {"1": 1.0}}]}',
        b'{"sizes": [1], "decode_threads": 1, "laps":'
        b' [{"runner": {"backend": "torchscript", "threads": 1}, "batch_s": {}}]}',
        b'{"sizes": [1], "decode_threads": 1, "laps":'
        b' [{"runner": {"backend": "torchscript", "threads": 1}, "batch_s": {"1": 0.0}}]}',
    ],
)
def test_a_file_that_is_no_race_is_none(manifest: Manifest, tmp_path: Path, content: bytes) -> None:
    kept = KeptRaces(tmp_path / "races")
    kept.keep(manifest, 2, race_of(Lap(TORCH, {1: 0.25})))
    (path,) = (tmp_path / "races").iterdir()
    path.write_bytes(content)
    assert kept.of(manifest, 2) is None


def test_a_folder_that_cannot_be_written_is_told(
    manifest: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    KeptRaces(tmp_path / "file").keep(manifest, 2, race_of(Lap(TORCH, {1: 0.25})))
    assert "races again" in caplog.text


def test_the_oldest_races_go(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laps, "_MOST_RACES", 3)
    kept = KeptRaces(tmp_path)
    for cores in range(1, 6):
        kept.keep(manifest, cores, race_of(Lap(TORCH, {1: 0.25})))
        for age, path in enumerate(
            sorted(tmp_path.glob("*.json"), key=lambda p: p.stat().st_mtime)
        ):
            os.utime(path, (age, age))
    assert [kept.of(manifest, cores) is not None for cores in range(1, 6)] == [
        *(False, False),
        *(True, True, True),
    ]


def test_who_has_no_home_keeps_nothing(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)
    kept = KeptRaces.usual()
    kept.keep(manifest, 2, race_of(Lap(TORCH, {1: 0.25})))
    assert kept.of(manifest, 2) is None
