"""``headrace demo``: frames, training, swaps, page and metrics at once, with nothing to set up."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.demo_folder import DemoFolder, demo_folder
from pipeline.cli.demo_source import digits, labelled, paced
from pipeline.cli.listening import check_listens
from pipeline.cli.signals import sigterm_as_ctrl_c
from pipeline.cli.starting import say_stopped_before_start
from pipeline.cli.terminal import live_table, say

if TYPE_CHECKING:
    from pipeline.config import ModelSettings, Settings
    from pipeline.worker import Worker

_MODEL = "digits"
_PREFERRED_PORT = 8080
_NIGHT_S = 90.0
_FIRST_VERSION_WITHIN_S = 120.0
"""Importing torch from a cold disk takes most of a minute on a small machine."""


def demo(
    seconds: Annotated[float, typer.Option(min=0, help="End after so long; 0: at Ctrl-C.")] = 0,
    source: Annotated[str, typer.Option(help="Your own source instead of the digits.")] = "",
    model: Annotated[str, typer.Option(help="Your own model, NAME[@VERSION or @ALIAS].")] = "",
    registry: Annotated[
        str | None, typer.Option(help="Registry of --model. [default: registry]")
    ] = None,
    streams: Annotated[
        int | None, typer.Option(min=1, max=64, help="Streams of digits. [default: 4]")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="Frames a second of a stream. [default: 15, of a video its own]"
        ),
    ] = None,
    night: Annotated[
        float | None,
        typer.Option(
            min=0, help="Seconds until night falls on the digits; 0: never. [default: 90]"
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address of the page.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=-1, help="Port of the page; 0: any free one; -1: 8080 if free.")
    ] = -1,
    as_json: Annotated[bool, typer.Option("--json", help="Summary as JSON on stdout.")] = False,
) -> None:
    """Watch real frames being scored while a network is trained beside it and swapped in live."""
    from pipeline.errors import ConfigError

    if bool(source) != bool(model):
        raise ConfigError(
            "--source and --model go together: the demo's own network only knows its own digits"
        )
    if source and streams is not None:
        raise ConfigError("--streams is of the demo's own digits; leave it away with --source")
    if source and night is not None:
        raise ConfigError("--night falls on the demo's own digits; leave it away with --source")
    if registry is not None and not model:
        raise ConfigError("--registry is where --model is: give both, or neither")
    port = _free_port(host) if port < 0 else port
    check_listens(host, port)
    run: Worker | None = None
    try:
        with sigterm_as_ctrl_c():
            if source:
                source = paced(source, fps)
                run = _run(_settings(source, model, registry or "registry", (host, port)), seconds)
            else:
                with demo_folder(Path(tempfile.gettempdir())) as mine, _trainer(mine) as trained:
                    url = digits(streams, fps, _NIGHT_S if night is None else night)
                    settings = _settings(url, _MODEL, trained, (host, port)).model_copy(
                        update={
                            "sinks": (labelled(mine.path / "feedback", streams, fps),),
                            "model": _carefully(_MODEL, trained),
                        }
                    )
                    run = _run(settings, seconds, mine.path / "page")
    except KeyboardInterrupt:  # the worker, while it runs, obeys signals itself
        if run is None:
            say_stopped_before_start(as_json=as_json, versions=[])
            return
    _report(run, as_json=as_json)
    raise typer.Exit(run.summary().exit_code)


def _settings(source: str, model: str, registry: str, address: tuple[str, int]) -> Settings:
    from pipeline.config import ModelSettings, ServerSettings, Settings
    from pipeline.settings import load_settings

    return Settings(
        sources=(source,),
        sinks=("null:",),
        model=ModelSettings(name=model, registry=registry),
        server=ServerSettings(host=address[0], port=address[1]),
        kafka=load_settings(None, {}).settings.kafka,  # a --source on Kafka may need a password
    )


def _carefully(model: str, registry: str) -> ModelSettings:
    """Versions of the demo's own trainer go through the shadow and a canary. Short ones: it is to
    be watched; and each may name other digits altogether than the one before, as it is better. The
    first network is probed too: the probe is there then when the first of them comes, and needn't
    start beside a worker and a trainer that have both cores."""
    from pipeline.config import ModelSettings

    return ModelSettings(
        name=model,
        registry=registry,
        probe="always",
        rollout="canary",
        shadow_frames=100,
        canary_frames=100,
        canary_share=0.75,
        drift_every_s=1.5,
        drift_frames=150,
        max_disagreement=1.0,
        max_confidence_drop=0.9,
        max_slowdown=20,
    )


def _run(settings: Settings, seconds: float, page: Path | None = None) -> Worker:
    """Runs the worker in this thread, with page and table, and gives it when it has ended; writes
    the page's address into a file, for the trainer."""
    from pipeline.service import serving
    from pipeline.worker import Worker

    worker = Worker(settings)
    with serving(worker, settings.server) as url:
        say(f"open {url} for the page, {url}metrics for Prometheus; Ctrl-C ends")
        if page is not None:
            page.with_suffix(".tmp").write_text(url)
            page.with_suffix(".tmp").rename(page)
        timer = threading.Timer(seconds, worker.stop) if seconds else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            with live_table(worker, f"headrace demo   {url}"):
                worker.run()
        finally:
            if timer is not None:
                timer.cancel()
    return worker


@contextmanager
def _trainer(folder: DemoFolder) -> Iterator[str]:
    """Runs the trainer as a child process; gives its registry once the first version is there.

    The child reads its standard input and ends when that does: however this process dies, the
    kernel closes the pipe.

    Raises:
        StageFailed: the trainer ended, or took too long, before it had published anything.
    """
    registry = folder.path / "registry"
    registry.mkdir()
    complaints = folder.path / "trainer.log"
    say("training a first, barely trained network on real handwritten digits ...")
    with complaints.open("wb") as log:
        child = subprocess.Popen(
            [
                *(sys.executable, "-m", "trainer", "demo-loop", "--until-stdin-ends"),
                *("--name", _MODEL, "--folder", str(folder.path)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=(folder.lock_fd,),
        )
    try:
        _await_first_version(child, complaints)
        yield str(registry)
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdin is not None:
            child.stdin.close()


def _await_first_version(child: subprocess.Popen[bytes], complaints: Path) -> None:
    from pipeline.errors import StageFailed

    published = threading.Event()
    reader = threading.Thread(
        target=_read_publications, args=(child, published), name="trainer-output", daemon=True
    )
    reader.start()
    if published.wait(_FIRST_VERSION_WITHIN_S) and child.poll() is None:
        return
    if child.poll() == 0:  # it was so quick that training is over already
        return
    last_words = complaints.read_text(errors="replace").strip().splitlines()[-5:]
    raise StageFailed(
        "the trainer published no first version"
        + (f"; it said: {' / '.join(last_words)}" if last_words else "")
    )


def _read_publications(child: subprocess.Popen[bytes], published: threading.Event) -> None:
    """Reads all that the trainer says, so that its pipe never fills up; ends with the trainer."""
    if child.stdout is not None:
        with child.stdout as lines:
            for _line in lines:
                published.set()
    published.set()


def _free_port(host: str) -> int:
    """8080, or any free port where that is taken: a demo shouldn't fail over a number."""
    from pipeline.errors import ConfigError

    try:
        check_listens(host, _PREFERRED_PORT)
    except ConfigError:
        return 0
    return _PREFERRED_PORT


def _report(worker: Worker, *, as_json: bool) -> None:
    summary = worker.summary()
    seen = worker.live.snapshot()
    versions = [
        {
            "version": each["version"],
            "accuracy": round(each["accuracy"], 4),
            "frames": each["frames"],
        }
        for each in seen["versions"]
    ]
    if as_json:
        print(json.dumps({**summary.to_json(), "versions": versions}))
        return
    say(
        f"{summary.received} frames received = {summary.scored} scored + {summary.shed} shed + "
        f"{summary.rejected} rejected + {summary.in_flight} in flight, "
        f"{summary.frames_per_s:.1f} frames/s, {summary.swaps} swaps"
    )
    model = worker.model()
    name = _MODEL if model is None else model.name
    for each in versions:
        say(f"  {name}@{each['version']}: {each['accuracy']:.1%} right of {each['frames']} frames")
    if summary.error is not None:
        say(f"headrace: {summary.error}")
