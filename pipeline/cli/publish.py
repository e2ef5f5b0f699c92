"""``headrace publish``: the verb's options; the work is in ``trainer.publish``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.terminal import say
from pipeline.cli.training_options import (
    Alias,
    EvenIfWorse,
    Formats,
    GateTolerance,
    Grayscale,
    RegistryUrl,
    Sign,
    TrustedKey,
    Window,
)
from pipeline.errors import ConfigError


def publish(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A TorchScript file, or module:factory (with --weights)."
        ),
    ],
    name: Annotated[str, typer.Option(help="The model's name in the registry.")],
    weights: Annotated[
        Path | None, typer.Option(help="A state_dict for module:factory's network.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Text file, one class a line (default: class_0, class_1, …)."),
    ] = None,
    size: Annotated[
        str, typer.Option(help="The size that the network takes.", metavar="WxH")
    ] = "224x224",
    mean: Annotated[
        str, typer.Option(help="Of R,G,B, taken from pixels scaled to 0..1.", metavar="R,G,B")
    ] = "0,0,0",
    std: Annotated[
        str, typer.Option(help="What is then divided by; 0 and 1 leave 0..1.", metavar="R,G,B")
    ] = "1,1,1",
    resize: Annotated[str, typer.Option(help="stretch, letterbox or center_crop.")] = "stretch",
    interpolation: Annotated[
        str, typer.Option(help="pyramid, area, linear, cubic, nearest or lanczos.")
    ] = "pyramid",
    decode: Annotated[
        str, typer.Option(help="auto: JPEGs no larger than needed; full: all of each.")
    ] = "auto",
    grayscale: Grayscale = False,
    channels: Annotated[
        int, typer.Option(min=1, max=3, help="1: it takes [N, 1, H, W]; with --grayscale.")
    ] = 3,
    window: Window = None,
    task: Annotated[
        str, typer.Option(help="What the outputs are: single-label, multi-label or regression.")
    ] = "single-label",
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Held-out pictures, FOLDER/LABEL/name.jpg: compare it by them with what it"
            " replaces.",
        ),
    ] = None,
    even_if_worse: EvenIfWorse = False,
    gate_tolerance: GateTolerance = None,
    trusted_key: TrustedKey = None,
    alias: Alias = None,
    sign: Sign = None,
    formats: Formats = "",
    registry: RegistryUrl = "registry",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the new version as one line of JSON.")
    ] = False,
) -> None:
    """Make a network of your own an artifact that workers can serve.

    It takes float32 [N, 3, H, W] RGB, (pixel / 255 - mean) / std, and gives logits [N, K]. It is
    compiled with that normalisation inside, compared with itself, and published. Of a regression
    the logits are the values.
    """
    for option, is_given in (
        ("--even-if-worse", even_if_worse),
        ("--gate-tolerance", gate_tolerance is not None),
        ("--trusted-key", trusted_key is not None),
    ):
        if is_given and data is None:
            raise ConfigError(f"{option} goes with --data FOLDER: here it would have no effect")
    from pipeline.types import OUTPUTS
    from trainer.gate import GateSettings
    from trainer.options import (
        Target,
        check_channels,
        check_task,
        make_spec,
        parse_mean,
        parse_rgb,
        parse_window,
    )
    from trainer.publish import PublishJob
    from trainer.publish import publish as run_job
    from trainer.served import Normalisation

    check_channels(channels, grayscale=grayscale)
    spec = make_spec(
        size,
        resize=resize,
        interpolation=interpolation,
        decode=decode,
        grayscale=grayscale,
        window=parse_window(window) if window else None,
    )
    gated = run_job(
        PublishJob(
            file=file,
            target=Target.of(name, registry, alias or [], sign, trusted_key or [], formats),
            spec=spec,
            normalisation=Normalisation(parse_mean(mean), parse_rgb("--std", std), channels),
            weights=weights,
            labels=labels,
            task=check_task(task),
            data=data,
            gate=GateSettings(gate_tolerance or 0.0, even_if_worse),
        ),
        say,
    )
    if weights is None and not Path(file).is_file():
        say(f"no --weights: the network has those that {file} gives it")
    manifest = gated.published
    if as_json:
        said = {} if manifest is None else manifest.model_dump(mode="json", by_alias=True)
        typer.echo(json.dumps(said | {"gate": gated.to_dict()}))
    elif manifest is not None:
        contract = manifest.contract
        typer.echo(
            f"published {manifest.name}@{manifest.version} to {registry}: "
            f"{len(contract.labels)} {OUTPUTS[contract.task]}, {manifest.size_bytes} bytes, "
            f"sha256 {manifest.sha256}"
        )
    gated.check("--even-if-worse publishes it all the same")
