"""Workers whose networks are run by another backend than TorchScript."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import EngineSettings, ModelSettings
from pipeline.cores import usable_cores
from pipeline.engine import backends
from pipeline.engine.backends import check_backend, digest_of
from pipeline.engine.laps import KeptRaces
from pipeline.errors import ArtifactRefused, ConfigError
from pipeline.types import Backend
from pipeline.worker import Worker
from tests.artifacts import publish_tiny, tiny_draft, tiny_onnx_bytes, with_onnx
from tests.flow.rig import Rig, detail, results, version_of
from tests.support import noise_jpeg, wait_until


@pytest.fixture(autouse=True)
def races(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "headrace" / "races"


def publish_both(rig: Rig, bias: float = 0.0, onnx_bias: float | None = None) -> str:
    """The digest of its ONNX file."""
    model = tiny_onnx_bytes(bias=bias if onnx_bias is None else onnx_bias)
    return rig.registry.publish(with_onnx(tiny_draft(bias=bias), model)).formats["onnx"].sha256


def endless(rig: Rig, backend: str, probe: str = "never") -> Worker:
    model = ModelSettings.model_validate(
        {
            "name": "tiny",
            "registry": rig.registry.url,
            "watch_interval_s": 0.02,
            "probe": probe,
        }
    )
    source = rig.memory([noise_jpeg(320, 240)], 10**9)
    engine = EngineSettings.model_validate({"backend": backend, "device": "cpu"})
    return rig.worker(sources=[source], model=model, engine=engine)


@pytest.mark.parametrize("probe", ["never", "always"])
def test_results_name_the_file_that_was_run_and_swaps_go_on(rig: Rig, probe: str) -> None:
    digests = {2: publish_both(rig)}
    worker = endless(rig, "onnxruntime", probe)
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 50, 60)
    digests[3] = publish_both(rig, bias=0.5)
    wait_until(lambda: version_of(worker) == 3, 60)
    scored = worker.summary().scored
    wait_until(lambda: worker.summary().scored > scored + 50)
    worker.stop()
    summary = rig.finish(summaries)
    rows = rig.rows()
    assert summary.swaps == 1
    assert summary.received == summary.scored == len(rows)
    assert {row["model"]["version"] for row in rows} == {2, 3}
    assert all(row["model"]["sha256"] == digests[row["model"]["version"]] for row in rows)


def test_a_version_without_a_file_for_it_is_refused_and_one_that_counts_otherwise(
    rig: Rig,
) -> None:
    publish_both(rig)
    worker = endless(rig, "onnxruntime", "always")  # so that its process is there
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    publish_tiny(rig.registry, "tiny", bias=0.1)
    wait_until(lambda: results(worker) == ["no_format"], 60)
    assert "--formats onnx" in detail(worker)
    publish_both(rig, bias=0.2, onnx_bias=0.3)
    wait_until(lambda: results(worker)[-1] == "wrong_on_golden", 60)
    publish_both(rig, bias=0.4)
    wait_until(lambda: version_of(worker) == 5, 60)
    worker.stop()
    assert rig.finish(summaries).exit_code == 0


def test_a_worker_does_not_start_on_a_version_without_a_file_for_its_backend(rig: Rig) -> None:
    with pytest.raises(ArtifactRefused, match="tiny@1 holds no onnx") as refused:
        endless(rig, "onnxruntime").run()
    assert refused.value.reason == "no_format"


def test_a_backend_that_is_not_installed_says_what_to_install(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "_PACKAGES", {"onnxruntime": ("no_such_package",)})
    with pytest.raises(ConfigError, match=r"pip install 'headrace\[onnx\]'"):
        endless(rig, "onnxruntime").run()


def test_a_backend_computes_on_the_cpu_only() -> None:
    with pytest.raises(ConfigError, match="computes on the CPU here"):
        check_backend("onnxruntime", "cuda:0")
    check_backend("torchscript", "cuda:0")


@pytest.mark.parametrize("won", ["torchscript", "onnxruntime"])
def test_a_race_is_run_once_and_its_winner_runs_what_it_can(
    rig: Rig, races: Path, won: Backend
) -> None:
    publish_both(rig)
    raced = rig.registry.manifest("tiny", 2)
    worker = endless(rig, "auto", "always")
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10, 60)
    worker.stop()
    rig.finish(summaries)
    assert len(list(races.iterdir())) == 1
    found = KeptRaces.usual().of(raced, usable_cores())
    assert found is not None
    lap_s: dict[Backend, float] = {"torchscript": 1.0, "onnxruntime": 1.0, won: 0.1}
    laps = [replace(lap, batch_s={1: lap_s[lap.runner.backend]}) for lap in found.laps]
    KeptRaces.usual().keep(raced, usable_cores(), replace(found, laps=tuple(laps)))

    so_far = len(rig.rows())
    worker = endless(rig, "auto", "always")
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10, 60)
    alone = publish_tiny(rig.registry, "tiny", bias=0.5)
    wait_until(lambda: version_of(worker) == 3, 60)
    publish_both(rig, bias=0.7)
    wait_until(lambda: version_of(worker) == 4, 60)
    scored = worker.summary().scored
    wait_until(lambda: worker.summary().scored > scored + 50)
    worker.stop()
    rig.finish(summaries)
    last = rig.registry.manifest("tiny", 4)
    expected = {2: digest_of(raced, won), 3: alone.sha256, 4: digest_of(last, won)}
    said = {(row["model"]["version"], row["model"]["sha256"]) for row in rig.rows()[so_far:]}
    assert said == set(expected.items())


@pytest.mark.parametrize("probe", ["never", "always"])
def test_a_wrong_onnx_file_leaves_auto_to_torchscript(rig: Rig, races: Path, probe: str) -> None:
    publish_both(rig, onnx_bias=0.5)
    worker = endless(rig, "auto", probe)
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10, 60)
    worker.stop()
    rig.finish(summaries)
    expected = rig.registry.manifest("tiny", 2).sha256
    assert {row["model"]["sha256"] for row in rig.rows()} == {expected}
    assert probe == "always" or not races.exists()  # a race that somebody didn't end
