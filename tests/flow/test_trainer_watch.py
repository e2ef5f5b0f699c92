"""``headrace trainer watch``: labels and drift come in, better versions go out."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact.registry import Registry
from pipeline.digits import Night, Scene
from pipeline.errors import ArtifactRefused, ConfigError
from pipeline.labelled_folder import keep_labelled
from pipeline.preprocess import PreprocessSpec
from tests.artifacts import publish_tiny
from tests.cli.headrace import headrace
from tests.flow.process import Headrace
from tests.support import wait_until
from trainer.data import digits
from trainer.options import Target
from trainer.run_folder import RunFolder
from trainer.settings import FitSettings
from trainer.train import TrainJob, train_on
from trainer.watch.loop import Trained, Watch, WatchJob
from trainer.watch.rules import Rules

SPEC = PreprocessSpec(width=24, height=24)
LABELS = 200


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on digits by day and, in ``registry``, its version 1."""
    folder = tmp_path_factory.mktemp("served")
    job = TrainJob(
        data="digits",
        spec=SPEC,
        settings=FitSettings(epochs=6),
        run=folder / "run",
        target=Target.of("digits", str(folder / "registry"), []),
    )
    train_on(job, lambda _: digits(SPEC, 800))
    return folder


@pytest.fixture
def here(served: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    shutil.copytree(served, tmp_path / "copy")
    return tmp_path / "copy"


def label(folder: Path, count: int, first: int = 0) -> None:
    """Labelled frames of eight cameras at night."""
    scenes = [Scene(number, seed=3, split="train") for number in range(40, 48)]
    for scene in scenes:
        scene.night = Night(-1000)
    for number in range(first, first + count):
        camera, k = number % 8, number // 8 * 46
        scene = scenes[camera]
        keep_labelled(folder, scene.label(k), f"cam-{camera}/0/{k}", scene.jpeg(k))


def watch(here: Path, **changes: Any) -> Watch:
    job = {
        "run": here / "run",
        "target": Target.of("digits", str(here / "registry"), []),
        "feedback": here / "feedback",
        "rules": Rules(least_new=100, every=100, pause_s=0),
        "changes": {"epochs": 3},
        **changes,
    }
    return Watch(WatchJob(**job), digits(SPEC, 200))


def looked(watching: Watch) -> Trained:
    trained = watching.look()
    assert trained is not None
    return trained


def test_labels_of_the_night_make_a_version_that_is_better_at_night(here: Path) -> None:
    watching = watch(here)
    label(here / "feedback", 90)
    assert watching.look() is None
    label(here / "feedback", LABELS, first=90)
    trained = looked(watching)
    assert trained.error == ""
    assert trained.labels == 90 + LABELS
    assert trained.summary is not None
    (compared,) = trained.summary.to_dict()["gate"]["compared"]
    assert compared["accuracy"] > compared["incumbent_accuracy"] + 0.05
    registry = Registry(str(here / "registry"))
    assert registry.aliases("digits") == {"latest": 2}
    assert registry.manifest("digits", 2).notes["data"] == "feedback"
    # What it is compared with from now on is the night, without the days that were replayed.
    day, night = (registry.manifest("digits", number).reference for number in (1, 2))
    assert day is not None
    assert night is not None
    assert night.samples == 90 + LABELS
    darkest = [sum(each.inputs.brightness.counts[:14]) / each.samples for each in (day, night)]
    assert darkest[0] < 0.4
    assert darkest[1] > 0.9
    # The next one, with new labels and in another process, begins where this one ended.
    assert watching.look() is None
    best = (here / "run" / "adapted" / "1" / "best.pt").read_bytes()
    label(here / "feedback", 100, first=90 + LABELS)
    assert looked(watch(here)).labels == 190 + LABELS
    about = json.loads((here / "run" / "adapted" / "2" / "run.json").read_text())
    assert about["weights"] == hashlib.sha256(best).hexdigest()


def test_a_version_that_is_worse_is_not_published_and_not_built_upon(here: Path) -> None:
    label(here / "feedback", LABELS)
    watching = watch(here, changes={"epochs": 1, "lr": 5.0})
    trained = looked(watching)
    assert trained.error
    assert Registry(str(here / "registry")).aliases("digits") == {"latest": 1}
    assert json.loads((here / "run" / "watch.json").read_text())["base"] == ""
    assert watching.look() is None  # not again on the same labels


def test_a_watch_that_is_killed_in_a_training_begins_it_anew(here: Path) -> None:
    label(here / "feedback", LABELS)
    command = ["trainer", "watch", str(here / "run"), "--publish", "digits", "--epochs", "500"]
    command += ["--feedback", str(here / "feedback"), "--registry", str(here / "registry")]
    command += ["--every", "100", "--threads", "1", "--json"]
    with Headrace(*command) as first:
        kept = here / "run" / "adapted" / "1" / "last.pt"
        wait_until(lambda: kept.exists() or first.code is not None, 60)
        assert first.code is None, first.said()
        first.signal(signal.SIGKILL)
        first.end()
    command[command.index("500")] = "3"
    with Headrace(*command) as second:
        wait_until(lambda: second.out or second.code is not None, 90)
        second.signal(signal.SIGTERM)
        assert second.end() == 0, second.said()
        said = second.summary()
    assert (said["event"], said["labels"]) == ("trained", LABELS)
    assert said["training"]["published"]["version"] == 2
    assert said["training"]["run"].endswith("adapted/2")
    assert [each.name for each in (here / "run" / "adapted").iterdir()] == ["2"]
    assert "Traceback" not in second.said()


def test_drift_that_a_worker_sees_is_a_reason(here: Path) -> None:
    label(here / "feedback", LABELS)
    worker = ["worker", "--source", "synthetic:digits?streams=8&fps=20&night=0&mode=live"]
    worker += ["--sink", "null:", "--model", "digits", "--registry", str(here / "registry")]
    env = {"HEADRACE_MODEL__DRIFT_EVERY_S": "0.05", "HEADRACE_MODEL__PROBE": "never"}
    with Headrace(*worker, "--port", "0", env=env) as run:
        url = run.until_ready()
        watching = watch(
            here, rules=Rules(least_new=100, drift=0.5, every=None, pause_s=0), workers=(url,)
        )
        end = time.monotonic() + 60
        trained = watching.look()
        while trained is None and time.monotonic() < end:
            trained = watching.look()
        assert trained is not None
        assert "has drifted" in trained.reason
        wait_until(lambda: "swapped to digits@2" in run.said(), 30)
        run.signal(signal.SIGTERM)
        assert run.end() == 0, run.said()


def test_what_is_no_run_of_what_is_served_is_refused(here: Path, tmp_path: Path) -> None:
    publish_tiny(str(here / "registry"), "tiny")
    with pytest.raises(ArtifactRefused, match="labels"):
        watch(here, target=Target.of("tiny", str(here / "registry"), []))
    with pytest.raises(ConfigError, match=r"give the folder of a run"):
        watch(here, run=tmp_path)
    RunFolder(tmp_path / "other").begin({"task": "regression", **_about(here)})
    with pytest.raises(ConfigError, match="labelled frames are of one class each"):
        watch(here, run=tmp_path / "other")


def _about(here: Path) -> dict[str, Any]:
    about = json.loads((here / "run" / "run.json").read_text())
    return {name: value for name, value in about.items() if name != "task"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "give --worker URL, which tells of drift, or --every N"),
        (["--every", "9", "--replay", "0.5"], "--replay goes with --data"),
        (["--every", "5000"], "--every goes with a --recent of as many"),
        (["--every", "50", "--least", "3000"], "--least goes with a --recent of as many"),
        (["--worker", "localhost:8080"], "--worker goes with http://HOST:PORT"),
        (["--worker", "http://host:80o/"], "--worker goes with http://HOST:PORT"),
        (["--every", "9", "--frames", "kafka://a:1/b"], "--frames KAFKA_URL goes with --feedback"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(options: list[str], says: str) -> None:
    ran = headrace("trainer", "watch", "run", "--publish", "m", "--feedback", "labels", *options)
    assert ran.code == 2
    assert says in ran.err
