"""``headrace train``: the verb's options; the work is in ``trainer.train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.tables import print_lines
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from trainer.evaluate import Evaluation

_MOMENTUM = 0.9
_TRAIN_SAMPLES = 4000


def train(
    data: Annotated[
        str,
        typer.Option(help="'digits', or an image folder: PATH/CLASS/name.jpg.", metavar="DATA"),
    ] = "digits",
    net: Annotated[str, typer.Option(help="reference-cnn, or torchvision:NAME.")] = "reference-cnn",
    size: Annotated[
        str, typer.Option(help="The samples' size in pixels.", metavar="WxH")
    ] = "24x24",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training data.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples in a step.")] = 64,
    optimizer: Annotated[str, typer.Option(help="sgd or adam.")] = "sgd",
    lr: Annotated[
        float | None, typer.Option(min=0, help="Learning rate (default: sgd 0.01, adam 0.001).")
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of SGD. [default: 0.9]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and digits.")] = 0,
    run: Annotated[
        Path | None, typer.Option(help="The run's folder (default: a new one in runs/).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where --run, or the newest run, ended.")
    ] = False,
    publish: Annotated[
        str | None, typer.Option(metavar="NAME", help="Publish the best epoch as this model.")
    ] = None,
    alias: Annotated[
        list[str] | None, typer.Option(help="Moves to it besides 'latest'; repeatable.")
    ] = None,
    registry: Annotated[
        str,
        typer.Option(envvar="HEADRACE_MODEL__REGISTRY", help="Folder or fsspec URL."),
    ] = "registry",
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Publish confidences that are shares of right answers (temperature scaling).",
        ),
    ] = True,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write each epoch's figures for TensorBoard too.")
    ] = False,
    mlflow: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Log to this MLflow server, or sqlite:///FILE, too."),
    ] = None,
    train_samples: Annotated[
        int | None,
        typer.Option(min=1, help="Digits to render; a quarter more is held out. [default: 4000]"),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="DataLoader's processes.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Torch's threads (default: torch's choice).")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:INDEX.")] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one line of JSON.")
    ] = False,
) -> None:
    """Train a network on digits or on your pictures, and publish it if told.

    Killed at any point, the same command with --resume goes on, to the same weights.
    """
    for option, is_idle, goes_with in (
        ("--momentum", momentum is not None and optimizer != "sgd", "--optimizer sgd"),
        ("--train-samples", train_samples is not None and data != "digits", "--data digits"),
        ("--alias", alias is not None and publish is None, "--publish NAME"),
    ):
        if is_idle:
            raise ConfigError(f"{option} goes with {goes_with}: here it would have no effect")
    import torch

    from pipeline.engine.device import choose_device
    from trainer.fit import FitSettings
    from trainer.options import Target, make_spec
    from trainer.train import TrainJob
    from trainer.train import train as run_job

    if threads is not None:
        torch.set_num_threads(threads)
    settings = FitSettings.of(
        net=net,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        momentum=_MOMENTUM if momentum is None else momentum,
        seed=seed,
        workers=workers,
        device=choose_device(device),
    )
    target = Target.of(publish, registry, alias or []) if publish else None
    spec = make_spec(size)
    samples = _TRAIN_SAMPLES if train_samples is None else train_samples
    summary = run_job(
        TrainJob(data, spec, settings, run, resume, samples, target, calibrate, tensorboard, mlflow)
    )
    if as_json:
        typer.echo(json.dumps(summary.to_dict()))
        return
    _print_classes(summary.calibration.after)
    typer.echo(str(summary))


def _print_classes(evaluation: Evaluation) -> None:
    from trainer.report import TABLE_COLUMNS, class_rows, table_title

    title = table_title(evaluation)
    if title is not None:
        typer.echo(title)
    print_lines(TABLE_COLUMNS, class_rows(evaluation))
