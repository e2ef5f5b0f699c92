"""``headrace train``: the verb's options; the work is in ``trainer.train``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.tables import print_lines
from pipeline.cli.training_options import (
    Alias,
    Device,
    EvenIfWorse,
    Formats,
    GateTolerance,
    Grayscale,
    RegistryUrl,
    Sign,
    Threads,
    TrustedKey,
    Window,
)
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from trainer.tasks import AnyEvaluation

_MOMENTUM = 0.9
_TRAIN_SAMPLES = 4000
_PLATEAU_EPOCHS = 5
"""The first is the best so far, four later ones must be no better: the sixth could be slower."""

_OTHER_SCHEDULES = "a --schedule other than one-cycle, which has its own"


def train(
    data: Annotated[
        str,
        typer.Option(
            help="'digits', an image folder (PATH/CLASS/name.jpg), or a table of pictures:"
            " FILE.csv or FILE.parquet.",
            metavar="DATA",
        ),
    ] = "digits",
    target_columns: Annotated[
        list[str] | None,
        typer.Option(
            "--target", metavar="COLUMN", help="Of a table: numbers to predict; repeatable."
        ),
    ] = None,
    net: Annotated[
        str,
        typer.Option(
            help="reference-cnn, simple-cnn (with options), a classifier of torchvision's"
            " (resnet18), or module:factory."
        ),
    ] = "reference-cnn",
    size: Annotated[
        str | None,
        typer.Option(
            help="The samples' size in pixels (default: reference-cnn and simple-cnn 24x24,"
            " inception_v3 299x299, others 224x224).",
            metavar="WxH",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="single-label, multi-label or regression (default: what the data say; numbers"
            " that are all 0 or 1 can be multi-label)."
        ),
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="Of simple-cnn: relu, leaky-relu or prelu. [default: relu]")
    ] = None,
    batch_norm: Annotated[
        bool, typer.Option("--batch-norm", help="Of simple-cnn: normalise over the batch.")
    ] = False,
    dropout: Annotated[
        float | None,
        typer.Option(help="Of simple-cnn: share of hidden features left out. [default: 0]"),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Of simple-cnn: kaiming-normal, kaiming-uniform, xavier-normal, xavier-uniform,"
            " orthogonal or default (PyTorch's). [default: kaiming-normal]"
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Begin with this state_dict, but for a head that differs.")
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Parameters that don't learn, such as 'features.*'; repeatable."
        ),
    ] = None,
    mean: Annotated[
        str, typer.Option(help="Of R,G,B, taken from pixels scaled to 0..1.", metavar="R,G,B")
    ] = "0.5",
    std: Annotated[
        str, typer.Option(help="What is then divided by: that of --weights.", metavar="R,G,B")
    ] = "0.25",
    grayscale: Grayscale = False,
    channels: Annotated[
        int, typer.Option(min=1, max=3, help="1: module:factory's takes [N, 1, H, W].")
    ] = 3,
    window: Window = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training data.")] = 10,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Samples in a forward pass, of all processes together.")
    ] = 64,
    optimizer: Annotated[str, typer.Option(help="sgd, adam or adamw.")] = "sgd",
    lr: Annotated[
        float | None,
        typer.Option(min=0, help="Learning rate (default: sgd 0.01, adam and adamw 0.001)."),
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of SGD. [default: 0.9]")
    ] = None,
    nesterov: Annotated[
        bool, typer.Option("--nesterov", help="SGD's momentum looks ahead.")
    ] = False,
    weight_decay: Annotated[
        float | None,
        typer.Option(min=0, help="Of weights, not biases and norms (default: adamw 0.01, else 0)."),
    ] = None,
    schedule: Annotated[
        str,
        typer.Option(help="Learning rate's: constant, step, cosine, plateau or one-cycle."),
    ] = "constant",
    warmup_epochs: Annotated[
        int, typer.Option(min=0, help="The learning rate first rises over these.")
    ] = 0,
    clip_norm: Annotated[
        float | None, typer.Option(min=0, help="Scales larger gradients down to this L2 norm.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop early, after so many epochs without gain.")
    ] = None,
    min_delta: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="What --patience takes for gain: of accuracy or macro F1 (0 to 1), of a"
            " regression's held-out loss. [default: 0]",
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of training: float32, bf16, or fp16 (CUDA alone).")
    ] = "float32",
    accumulate: Annotated[int, typer.Option(min=1, help="Batches in a step.")] = 1,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Weights and planes in memory as NHWC.")
    ] = False,
    augment: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Change samples at random: some of crop,rotate,flip,color,blur,noise.",
        ),
    ] = None,
    balance: Annotated[
        str, typer.Option(help="For classes with few samples: none, weights or sampling.")
    ] = "none",
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order, dropout and digits.")] = 0,
    run: Annotated[
        Path | None, typer.Option(help="The run's folder (default: a new one in runs/).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where --run, or the newest run, ended.")
    ] = False,
    publish: Annotated[
        str | None, typer.Option(metavar="NAME", help="Publish the best epoch as this model.")
    ] = None,
    alias: Alias = None,
    sign: Sign = None,
    formats: Formats = "",
    registry: RegistryUrl = "registry",
    even_if_worse: EvenIfWorse = False,
    gate_tolerance: GateTolerance = None,
    trusted_key: TrustedKey = None,
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
    threads: Threads = None,
    device: Device = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one line of JSON.")
    ] = False,
) -> None:
    """Train a network on digits or on your pictures, and publish it if told.

    Killed at any point, the same command with --resume goes on, to the same weights.
    """
    from trainer.table import is_table

    cnn: dict[str, Any] = {
        "activation": activation,
        "batch_norm": batch_norm or None,
        "dropout": dropout,
        "init": init,
    }
    cnn = {name: value for name, value in cnn.items() if value is not None}
    is_one_cycle, is_sgd = schedule == "one-cycle", optimizer == "sgd"
    is_too_short_for_plateau = schedule == "plateau" and epochs <= _PLATEAU_EPOCHS
    for option, is_idle, goes_with in (
        *((f"--{name.replace('_', '-')}", net != "simple-cnn", "--net simple-cnn") for name in cnn),
        ("--momentum", momentum is not None and not is_sgd, "--optimizer sgd"),
        ("--momentum", momentum is not None and is_one_cycle, _OTHER_SCHEDULES),
        ("--nesterov", nesterov and not is_sgd, "--optimizer sgd"),
        ("--warmup-epochs", warmup_epochs and is_one_cycle, _OTHER_SCHEDULES),
        ("--schedule plateau", is_too_short_for_plateau, f"more than {_PLATEAU_EPOCHS} --epochs"),
        ("--min-delta", min_delta is not None and patience is None, "--patience"),
        ("--patience", patience and patience > epochs - 2, "at least two more --epochs"),
        ("--train-samples", train_samples is not None and data != "digits", "--data digits"),
        ("--target", target_columns and not is_table(Path(data)), "--data FILE.csv or .parquet"),
        ("--window", window is not None and data == "digits", "--data of 16-bit pictures"),
        ("--alias", alias is not None and publish is None, "--publish NAME"),
        ("--sign", sign is not None and publish is None, "--publish NAME"),
        ("--formats", formats and publish is None, "--publish NAME"),
        ("--even-if-worse", even_if_worse and publish is None, "--publish NAME"),
        ("--gate-tolerance", gate_tolerance is not None and publish is None, "--publish NAME"),
        ("--trusted-key", trusted_key is not None and publish is None, "--publish NAME"),
    ):
        if is_idle:
            raise ConfigError(f"{option} goes with {goes_with}: here it would have no effect")
    import torch

    from pipeline.engine.device import choose_device
    from trainer.augment import parse_augmentations
    from trainer.distributed import Ranks, joined
    from trainer.gate import GateSettings
    from trainer.nets import CnnOptions, NetSettings, WeightsFile, usual_size
    from trainer.options import (
        Target,
        check_channels,
        check_task,
        make_spec,
        parse_mean,
        parse_rgb,
        parse_window,
    )
    from trainer.served import Normalisation
    from trainer.settings import FitSettings
    from trainer.train import TrainJob
    from trainer.train import train as run_job

    check_channels(channels, grayscale=grayscale)
    if threads is not None:
        torch.set_num_threads(threads)
    net_settings = NetSettings(
        cnn=CnnOptions(**cnn),
        weights=WeightsFile.of(weights) if weights else None,
        freeze=tuple(freeze or []),
        normalisation=Normalisation(parse_mean(mean), parse_rgb("--std", std), channels),
    )
    settings = FitSettings.of(
        net=net,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        momentum=_MOMENTUM if momentum is None else momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        schedule=schedule,
        warmup_epochs=warmup_epochs,
        clip_norm=clip_norm,
        patience=patience,
        min_delta=min_delta or 0.0,
        precision=precision,
        accumulate=accumulate,
        channels_last=channels_last,
        augment=parse_augmentations(augment) if augment is not None else (),
        balance=balance,
        seed=seed,
        workers=workers,
        device=choose_device(device),
        net_settings=net_settings,
    )
    target = None
    if publish:
        target = Target.of(publish, registry, alias or [], sign, trusted_key or [], formats)
    gate = GateSettings(gate_tolerance or 0.0, even_if_worse)
    spec = make_spec(
        size or "{}x{}".format(*usual_size(net)),
        grayscale=grayscale,
        window=parse_window(window) if window else None,
    )
    samples = _TRAIN_SAMPLES if train_samples is None else train_samples
    job = TrainJob(
        data=data,
        spec=spec,
        settings=settings,
        run=run,
        resume=resume,
        train_samples=samples,
        target=target,
        calibrate=calibrate,
        tensorboard=tensorboard,
        mlflow=mlflow,
        gate=gate,
        targets=tuple(target_columns or ()),
        task=check_task(task) if task is not None else None,
    )
    with joined(settings.device) as own_device:
        summary = run_job(replace(job, settings=replace(settings, device=own_device)))
        is_first = Ranks.current().is_first
    if not is_first:
        return
    if as_json:
        typer.echo(json.dumps(summary.to_dict()))
    else:
        _print_table(summary.calibration.after)
        typer.echo(str(summary))
    summary.check()


def _print_table(evaluation: AnyEvaluation) -> None:
    from trainer.report import table_of

    table = table_of(evaluation)
    if table.title is not None:
        typer.echo(table.title)
    print_lines(table.columns, table.rows)
