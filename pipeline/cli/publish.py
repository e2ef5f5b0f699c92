"""``headrace publish``: the verb's options; the work is in ``trainer.publish``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.terminal import say
from pipeline.types import OUTPUTS


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
    task: Annotated[
        str, typer.Option(help="What the outputs are: single-label, multi-label or regression.")
    ] = "single-label",
    alias: Annotated[
        list[str] | None, typer.Option(help="Moves to it besides 'latest'; repeatable.")
    ] = None,
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Sign it with this private key.")
    ] = None,
    registry: Annotated[
        str,
        typer.Option(envvar="HEADRACE_MODEL__REGISTRY", help="Folder or fsspec URL."),
    ] = "registry",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the new version as one line of JSON.")
    ] = False,
) -> None:
    """Make a network of your own an artifact that workers can serve.

    It takes float32 [N, 3, H, W] RGB, (pixel / 255 - mean) / std, and gives logits [N, K]. It is
    compiled with that normalisation inside, compared with itself, and published. Of a regression
    the logits are the values.
    """
    from trainer.options import Target, check_task, make_spec, parse_mean, parse_rgb
    from trainer.publish import PublishJob
    from trainer.publish import publish as run_job
    from trainer.served import Normalisation

    manifest = run_job(
        PublishJob(
            file=file,
            target=Target.of(name, registry, alias or [], sign),
            spec=make_spec(size, resize=resize, interpolation=interpolation, decode=decode),
            normalisation=Normalisation(parse_mean(mean), parse_rgb("--std", std)),
            weights=weights,
            labels=labels,
            task=check_task(task),
        )
    )
    if weights is None and not Path(file).is_file():
        say(f"no --weights: the network has those that {file} gives it")
    if as_json:
        typer.echo(json.dumps(manifest.model_dump(mode="json", by_alias=True)))
        return
    contract = manifest.contract
    typer.echo(
        f"published {manifest.name}@{manifest.version} to {registry}: "
        f"{len(contract.labels)} {OUTPUTS[contract.task]}, {manifest.size_bytes} bytes, "
        f"sha256 {manifest.sha256}"
    )
