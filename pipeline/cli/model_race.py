"""What a race between backends gave on this machine, as ``headrace models show`` shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from pipeline.cli.tables import print_lines

if TYPE_CHECKING:
    from pipeline.artifact.manifest import Manifest
    from pipeline.engine.laps import Lap


def laps_of(manifest: Manifest) -> list[Lap]:
    """Nothing where no worker with ``engine.backend`` ``auto`` ran this network here."""
    from pipeline.cores import usable_cores
    from pipeline.engine.laps import KeptRaces

    raced = KeptRaces.usual().of(manifest, usable_cores())
    return [] if raced is None else list(raced.laps)


def laps_json(laps: list[Lap]) -> list[dict[str, Any]]:
    """For programs."""
    return [
        {
            "backend": lap.runner.backend,
            "threads": lap.runner.threads,
            "batch_ms": {str(n): round(1000 * taken_s, 4) for n, taken_s in lap.batch_s.items()},
            "problem": lap.problem,
        }
        for lap in laps
    ]


def print_laps(laps: list[Lap]) -> None:
    """For people: frames a second, by the size of batches."""
    from pipeline.engine.laps import fastest

    won = fastest(laps)
    sizes = sorted({size for lap in laps for size in lap.batch_s})
    typer.echo("\nframes a second here, beside decoding, in batches of")
    rows = [
        (
            str(lap.runner),
            *(f"{n / lap.batch_s[n]:.0f}" if n in lap.batch_s else "-" for n in sizes),
            "auto takes it" if lap.runner == won else "",
        )
        for lap in laps
    ]
    print_lines(("", *map(str, sizes), ""), rows)
