"""``headrace status``: how far a consumer group is on its topic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.kafka import ConfigFile, kafka_access

if TYPE_CHECKING:
    from pipeline.kafka.lag import GroupStatus, Member

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0


def status(
    source: Annotated[
        str,
        typer.Argument(
            metavar="KAFKA_URL",
            help="kafka://HOST:PORT[,HOST:PORT]/TOPIC[?group=GROUP], as of `headrace worker`.",
        ),
    ],
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show how far a group of workers is on a Kafka topic.

    Who is in the group, and for each partition what is committed, how many records wait, how old
    the oldest of them is, and how many were deleted before the group came to them. A group that
    isn't there has no members and has committed nothing. Nothing is joined or committed.
    """
    from pipeline.clock import SystemClock
    from pipeline.logs import configure_logs
    from pipeline.source.kafka_url import parse_kafka_source
    from pipeline.status import group_status

    configure_logs("warning")
    found = group_status(parse_kafka_source(source, kafka_access(config)), SystemClock())
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        _print(found)


def _print(found: GroupStatus) -> None:
    from pipeline.cli.tables import print_table

    group = found.group
    typer.echo(f"group {group.name} on {found.address}: {group.state}, {_many(group.members)}")
    if group.members:
        print_table(
            ("member", "client", "host", "partitions"),
            [
                (each.id, each.client_id, each.host, ranges(each.partitions))
                for each in group.members
            ],
        )
    rows = [
        (
            str(each.partition),
            str(each.bounds.start),
            "-" if each.committed is None else str(each.committed),
            str(each.bounds.end),
            str(each.lag),
            age(each.age_s, each.lag),
            str(each.lost),
        )
        for each in found.partitions
    ]
    if len(rows) > 1:
        rows.append(
            ("all", "", "", "", str(found.lag), age(found.max_age_s, found.lag), str(found.lost))
        )
    print_table(("partition", "start", "committed", "end", "lag", "oldest", "lost"), rows)
    if found.dead_letters is not None:
        typer.echo(f"{found.dead_letters.records} dead letters in {found.dead_letters.topic}")


def _many(members: tuple[Member, ...]) -> str:
    return {0: "no members", 1: "1 member"}.get(len(members), f"{len(members)} members")


def age(seconds: float | None, lag: int) -> str:
    """An age for people: ``12.3 s``, ``5 min``, ``3.1 h``, ``2.0 d``; ``-`` where nothing waits."""
    if seconds is None:
        return "unknown" if lag else "-"
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.1f} h"
    return f"{seconds / _DAY_S:.1f} d"


def ranges(numbers: tuple[int, ...]) -> str:
    """Rising numbers in short: ``0-3, 7``; ``-`` for none."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans) or "-"
