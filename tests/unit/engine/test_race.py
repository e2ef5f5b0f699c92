from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.registry import Registry
from pipeline.clock import SystemClock
from pipeline.config import DecodeSettings, EngineSettings, Settings
from pipeline.engine import choice
from pipeline.engine.choice import candidates, choose, probed
from pipeline.engine.laps import KeptRaces, Lap, Raced, Runner, runners_of
from pipeline.engine.loading import Loader
from pipeline.engine.race import Race
from pipeline.errors import ArtifactRefused, StopRequested
from pipeline.types import Backend
from tests.artifacts import tiny_draft, tiny_onnx_bytes, with_onnx

BOTH: list[Backend] = ["torchscript", "onnxruntime"]
RUNNERS = [Runner("torchscript", 1), Runner("onnxruntime", 1)]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "registry"))


def with_both(registry: Registry, model: bytes | None = None) -> Artifact:
    version = registry.publish(with_onnx(tiny_draft(), model)).version
    return registry.read("tiny", version)


def race(sizes: tuple[int, ...] = (1, 4)) -> Race:
    return Race("cpu", sizes, decode_threads=2, clock=SystemClock())


def test_each_runs_all_sizes_beside_threads_that_end(
    registry: Registry, no_thread_left: None
) -> None:
    laps = race().run(with_both(registry), RUNNERS)
    assert [lap.runner for lap in laps] == RUNNERS
    for lap in laps:
        assert lap.problem == ""
        assert list(lap.batch_s) == [1, 4]
        assert all(0 < taken_s < 1 for taken_s in lap.batch_s.values())


def test_who_computes_something_else_is_out(registry: Registry) -> None:
    laps = race().run(with_both(registry, tiny_onnx_bytes(bias=0.1)), RUNNERS)
    assert laps[0].problem == ""
    assert "off, expected at most" in laps[1].problem


def test_who_has_no_file_of_it_is_out(registry: Registry) -> None:
    version = registry.publish(tiny_draft()).version
    laps = race().run(registry.read("tiny", version), RUNNERS)
    assert "holds no onnx" in laps[1].problem


def test_a_stop_ends_it(registry: Registry, no_thread_left: None) -> None:
    stopped = Race("cpu", (1,), 1, SystemClock(), is_stopping=lambda: True)
    with pytest.raises(StopRequested):
        stopped.run(with_both(registry), RUNNERS)


def settings_of(backend: str, threads: int = 0) -> Settings:
    engine = EngineSettings.model_validate(
        {"backend": backend, "threads": threads, "device": "cpu"}
    )
    return Settings(engine=engine, decode=DecodeSettings(threads=1))


def loader_of(settings: Settings) -> Loader:
    return Loader.of(settings, SystemClock())


def test_candidates_are_those_that_have_a_file(registry: Registry) -> None:
    both = with_both(registry).manifest
    alone = registry.publish(tiny_draft())
    auto = loader_of(settings_of("auto"))
    assert candidates(auto, both) == ["torchscript", "onnxruntime"]
    assert candidates(auto, alone) == ["torchscript"]
    assert candidates(loader_of(settings_of("onnxruntime")), alone) == ["onnxruntime"]
    assert candidates(loader_of(settings_of("torchscript")), both) == ["torchscript"]


def test_the_settings_word_is_no_race(registry: Registry, tmp_path: Path) -> None:
    kept = KeptRaces(tmp_path / "races")
    settings = settings_of("onnxruntime")
    loader = loader_of(settings)
    assert choose(loader, settings, with_both(registry), ["onnxruntime"], kept) is loader
    assert not (tmp_path / "races").exists()


def test_the_winner_is_taken_and_known_at_the_next_start(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptRaces(tmp_path / "races")
    settings, artifact = settings_of("auto", threads=1), with_both(registry)
    chosen = choose(loader_of(settings), settings, artifact, BOTH, kept)
    raced = kept.of(artifact.manifest, choice.usable_cores())
    assert raced is not None
    assert [lap.runner for lap in raced.laps] == RUNNERS
    assert Runner(chosen.backend, chosen.threads) in RUNNERS

    def never(*_: object) -> None:
        raise AssertionError("it raced again")

    monkeypatch.setattr(Race, "run", never)
    again = choose(loader_of(settings), settings, artifact, BOTH, kept)
    assert (again.backend, again.threads) == (chosen.backend, chosen.threads)
    other = settings_of("auto", threads=2)
    other_loader = loader_of(other)
    with pytest.raises(AssertionError, match="raced again"):
        choose(other_loader, other, artifact, BOTH, kept)


def test_a_winner_without_a_file_of_the_next_version_leaves_it_to_torchscript(
    registry: Registry,
) -> None:
    both, alone = with_both(registry).manifest, registry.publish(tiny_draft())
    won = Loader(
        "cpu",
        loader_of(settings_of("auto")).plan,
        SystemClock(),
        backend="onnxruntime",
        is_auto=True,
    )
    assert (won.backend_for(both), won.backend_for(alone)) == ("onnxruntime", "torchscript")
    model = won.load(registry.read("tiny", both.version), epoch=1)
    assert model.identity.sha256 == both.formats["onnx"].sha256
    model = won.load(registry.read("tiny", alone.version), epoch=2)
    assert model.identity.sha256 == alone.sha256


def test_torch_keeps_its_own_number_of_threads_beside_another_winner(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, settings, artifact = KeptRaces(tmp_path), settings_of("auto"), with_both(registry)
    monkeypatch.setattr(choice, "usable_cores", lambda: 2)
    times = {("torchscript", 1): 1.0, ("torchscript", 2): 3.0, ("onnxruntime", 1): 0.5}
    laps = [
        Lap(runner, {1: times.get((runner.backend, runner.threads), 0.1)})
        for runner in runners_of(BOTH, 0, 2)
    ]
    sizes = loader_of(settings).plan.sizes[::2]
    kept.keep(artifact.manifest, 2, Raced(sizes, 1, tuple(laps)))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        chosen = choose(loader_of(settings), settings, artifact, BOTH, kept)
        assert (chosen.backend, chosen.threads) == ("onnxruntime", 2)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_one_that_does_not_stand_the_probe_is_left_out_if_it_is_not_the_first() -> None:
    def check(backend: Backend) -> None:
        if backend == "onnxruntime":
            raise ArtifactRefused("wrong_on_golden", "it counts otherwise")

    assert probed(BOTH, check) == ["torchscript"]
    with pytest.raises(ArtifactRefused, match="counts otherwise"):
        probed(["onnxruntime"], check)
