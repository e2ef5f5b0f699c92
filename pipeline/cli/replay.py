"""``headrace replay``: dead letters, or a range of a topic, through again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.kafka import ConfigFile, bare_topic, kafka_access

if TYPE_CHECKING:
    from pipeline.replay import Replayed


def replay(
    source: Annotated[
        str,
        typer.Argument(
            metavar="KAFKA_URL", help="What to replay: kafka://HOST:PORT[,HOST:PORT]/TOPIC"
        ),
    ],
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET_URL", help="Where to: such a URL. [default: where frames came from]"
        ),
    ] = None,
    partition: Annotated[
        int | None, typer.Option(min=0, help="Of this partition only; needs --from or --to.")
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="A range's first offset, or moment (2026-01-31T23:59:00Z), or earliest.",
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="PLACE",
            help="The offset or moment before which a range ends. [default: the end now]",
        ),
    ] = None,
    reason: Annotated[
        list[str] | None,
        typer.Option(metavar="REASON", help="Only dead letters of this reason. Repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be sent.")
    ] = False,
    config: ConfigFile = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with a summary as one line of JSON on stdout.")
    ] = False,
) -> None:
    """Put dead letters through again, or a range of any topic.

    Without --from and --to: the dead letters that came since the last replay of that topic, each
    back into the topic and partition that it came from. With them: every record of that range, read
    before or not. Frames keep key, bytes, headers and id: the new result has the same ce_id. Ctrl-C
    ends it when all that was sent is acknowledged; the next replay goes on there.
    """
    import threading

    from pipeline.cli.terminal import progress_bar, say
    from pipeline.clock import SystemClock
    from pipeline.errors import StageFailed
    from pipeline.kafka.replay_plan import Choice, parse_edge
    from pipeline.lifecycle import stopping_on_signals
    from pipeline.logs import configure_logs
    from pipeline.replay import Replay, ReplayOptions

    configure_logs("warning")
    access = kafka_access(config)
    address = bare_topic(source, access)
    options = ReplayOptions(
        target=None if target is None else bare_topic(target, access),
        choice=Choice(
            partition,
            None if begin is None else parse_edge(begin),
            None if end is None else parse_edge(end),
        ),
        reasons=_reasons(reason or []),
        is_dry_run=dry_run,
    )
    stop = threading.Event()
    done_so_far = "to replay" if dry_run else "replayed"
    with stopping_on_signals(stop.set, stop.set), progress_bar() as show:
        done = Replay(address, options, SystemClock()).run(
            stop, lambda so_far: show(so_far.read, so_far.total, f"{so_far.replayed} {done_so_far}")
        )
    if as_json:
        typer.echo(json.dumps(done.to_json(), ensure_ascii=False))
    else:
        say(describe(done))
    if done.unknown:
        raise StageFailed(
            f"stopped while {options.target or address} didn't answer: whether {done.unknown} more"
            " frames arrived isn't known; the next replay sends them again, under the same ids"
        )
    if not (done.is_remembered or dry_run or options.choice.is_range):
        raise StageFailed(
            f"how far it came couldn't be remembered at {address}: the next replay sends some of"
            " these frames again, under the same ids"
        )


def _reasons(given: list[str]) -> frozenset[str]:
    from typing import get_args

    from pipeline.types import RejectReason

    known = get_args(RejectReason)
    for reason in given:
        if reason not in known:
            raise typer.BadParameter(f"--reason: got {reason!r}, expected {', '.join(known)}")
    return frozenset(given)


def describe(done: Replayed) -> str:
    """What a replay did, in a sentence."""
    if not done.total:
        return "nothing to replay"
    topics = ", ".join(f"{count} to {name}" for name, count in sorted(done.by_topic.items()))
    reasons = ", ".join(f"{count} {name}" for name, count in sorted(done.by_reason.items()))
    skipped = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in sorted(done.skipped.items())
    )
    if done.is_dry_run:
        said = f"{done.replayed} frames would be replayed"
    else:
        said = f"{done.replayed} frames replayed, {done.size_bytes / (1 << 20):.1f} MiB"
    said += f": {topics}" if topics else ""
    said += f" ({reasons})" if reasons else ""
    return said + (f"; left alone: {skipped}" if skipped else "")
