"""The judge: from all that was sent and all that came out, what went wrong. Pure."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias

from tests.faults.oracle.identity import Identity
from tests.faults.oracle.networks import reveal
from tests.kafka.row import Row

Fate: TypeAlias = Literal["scored", "rejected", "any"]


@dataclass(frozen=True, slots=True)
class Sent:
    """One record of the source topic, as its producer knows it. ``unknown`` is neither ok nor
    failed: it may be there or not. ``identity`` is None for what is no picture of ours, and
    ``must_be`` what has to become of the frame."""

    identity: Identity | None
    status: Literal["ok", "failed", "unknown"]
    frame_id: str = ""
    must_be: Fate = "scored"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that ended, and how long after that the first result may take."""

    name: str
    ended_at: float
    budget_s: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a run left behind, read to the end.

    ``committed`` are the group's offsets by partition. ``models`` gives each published digest's
    constant; ``summaries`` what the workers that ended by themselves say of their run;
    ``has_all_summaries`` whether no worker was killed or fenced; ``has_one_worker`` whether all
    rows are one worker's; ``is_strict`` that a worker counts frames, too, whose rows it left to the
    partition's next owner. ``most_duplicates`` is the declared window, in which frames may come
    twice; with ``most_gap_s`` no partition may stand still for longer than that
    between its first result and its last.
    """

    sent: Sequence[Sent]
    results: Sequence[Row]
    dead_letters: Sequence[Row]
    models: Mapping[str, int]
    committed: Mapping[int, int] = field(default_factory=dict)
    summaries: Sequence[Mapping[str, int]] = ()
    has_all_summaries: bool = False
    has_one_worker: bool = False
    is_strict: bool = False
    max_age_s: float | None = None
    most_gap_s: float | None = None
    most_duplicates: int = 0
    faults: Sequence[Fault] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What went wrong; ``repeated`` only where duplicates are more than the window allows."""

    lost: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    wrong_frame: list[str] = field(default_factory=list)
    wrong_model: list[str] = field(default_factory=list)
    wrong_outcome: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    epochs: list[str] = field(default_factory=list)
    counters: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    duplicates: int = 0
    sent: int = 0
    results: int = 0
    models: int = 0

    @property
    def broken(self) -> list[str]:
        """The promises that weren't kept, by name."""
        return [
            name for name, found in asdict(self).items() if isinstance(found, list) and len(found)
        ]

    def to_json(self) -> str:
        """For people and programs; long lists are cut."""
        row = {
            name: found[:20] if isinstance(found, list) else found
            for name, found in asdict(self).items()
        }
        return json.dumps({"broken": self.broken, **row}, indent=2)


def check(evidence: Evidence) -> Verdict:
    """Judges a run."""
    bodies = [(row, json.loads(row.value)) for row in evidence.results]
    first_rows: dict[str, tuple[Row, dict]] = {}
    for row, body in bodies:
        first_rows.setdefault(_id(row), (row, body))
    letters = {_origin(row): row for row in evidence.dead_letters}
    return Verdict(
        lost=_lost(evidence, {*first_rows, *letters}),
        forgotten=_forgotten(evidence, {*first_rows, *letters}),
        phantom=_phantom(evidence, first_rows, letters),
        wrong_frame=_wrong_frame(evidence, bodies),
        wrong_model=_wrong_model(evidence, bodies),
        wrong_outcome=_wrong_outcome(evidence, bodies, letters),
        doubled=_doubled(evidence, first_rows),
        stale=_stale(evidence, bodies),
        disordered=_disordered(first_rows),
        epochs=_epochs(evidence, bodies),
        counters=_counters(evidence),
        late=_late(evidence),
        stuck=_stuck(evidence),
        repeated=_repeated(evidence, len(bodies) - len(first_rows)),
        duplicates=len(bodies) - len(first_rows),
        sent=len(evidence.sent),
        results=len(bodies),
        models=len({body["model"]["sha256"] for _, body in bodies if body["model"]}),
    )


def _id(row: Row) -> str:
    return row.headers["ce_id"].decode()


def _origin(letter: Row) -> str:
    headers = letter.headers
    return "/".join(headers[f"hr-dlq-{part}"].decode() for part in ("topic", "partition", "offset"))


def _lost(evidence: Evidence, have_outcome: set[str]) -> list[str]:
    """Sent, and without an outcome: by the producer's offset, or not at all."""
    return [
        each.frame_id
        for each in evidence.sent
        if each.status == "ok" and each.frame_id not in have_outcome
    ]


def _forgotten(evidence: Evidence, have_outcome: set[str]) -> list[str]:
    """Without an outcome, and committed: lost for good, where others may still come."""
    places = [
        (each.frame_id, *map(int, each.frame_id.split("/")[1:]))
        for each in evidence.sent
        if each.status == "ok" and each.frame_id not in have_outcome
    ]
    return [
        frame_id
        for frame_id, partition, offset in places
        if offset < evidence.committed.get(partition, 0)
    ]


def _phantom(
    evidence: Evidence, first_rows: Mapping[str, tuple[Row, dict]], letters: Mapping[str, Row]
) -> list[str]:
    """Outcomes of frames that nobody sent; a frame of unknown fate is known by its pixels."""
    known = {each.frame_id for each in evidence.sent}
    maybe = {each.identity for each in evidence.sent if each.status == "unknown"}
    strangers = {*first_rows, *letters} - known
    return sorted(
        frame_id
        for frame_id in strangers
        if frame_id in letters
        or (revealed := reveal(first_rows[frame_id][1])) is None
        or revealed.identity not in maybe
    )


def _wrong_frame(evidence: Evidence, bodies: Sequence[tuple[Row, dict]]) -> list[str]:
    """Rows whose numbers were computed from another frame's pixels, or from nobody's."""
    identities = {each.frame_id: each.identity for each in evidence.sent if each.identity}
    wrong = []
    for row, body in bodies:
        if body["outcome"] != "scored" or _id(row) not in identities:
            continue
        revealed = reveal(body)
        if revealed is None or revealed.identity != identities[_id(row)]:
            wrong.append(_id(row))
    return wrong


def _wrong_model(evidence: Evidence, bodies: Sequence[tuple[Row, dict]]) -> list[str]:
    """Rows that name another model than the one whose numbers they hold."""
    wrong = []
    for row, body in bodies:
        revealed = reveal(body) if body["outcome"] == "scored" else None
        if revealed is None:
            continue
        if evidence.models.get(body["model"]["sha256"]) != revealed.constant:
            wrong.append(_id(row))
    return wrong


def _wrong_outcome(
    evidence: Evidence, bodies: Sequence[tuple[Row, dict]], letters: Mapping[str, Row]
) -> list[str]:
    """Good frames that were rejected, bad ones that were scored, rejections without a letter."""
    must_be = {each.frame_id: each.must_be for each in evidence.sent if each.must_be != "any"}
    wrong = {
        _id(row)
        for row, body in bodies
        if body["outcome"] != "shed" and must_be.get(_id(row), body["outcome"]) != body["outcome"]
    }
    rejected = {_id(row) for row, body in bodies if body["outcome"] == "rejected"}
    return sorted(wrong | (rejected - set(letters)))


def _doubled(evidence: Evidence, first_rows: Mapping[str, tuple[Row, dict]]) -> list[str]:
    """One frame under two ids: what deduplication can't undo. Damaged pixels can look like those
    of any frame, so only whole ones count."""
    damaged = {each.frame_id for each in evidence.sent if each.identity is None}
    revealed = [
        found.identity
        for frame_id, (_, body) in first_rows.items()
        if frame_id not in damaged and body["outcome"] == "scored" and (found := reveal(body))
    ]
    return [str(identity) for identity, count in Counter(revealed).items() if count > 1]


def _stale(evidence: Evidence, bodies: Sequence[tuple[Row, dict]]) -> list[str]:
    if evidence.max_age_s is None:
        return []
    most_ms = 1000 * evidence.max_age_s
    return [_id(row) for row, body in bodies if body["fresh"] and body["age_ms"] > most_ms]


def _disordered(first_rows: Mapping[str, tuple[Row, dict]]) -> list[str]:
    """Of each stream and partition, the first row of each frame must come in the source's order."""
    newest: dict[tuple[bytes | None, str], int] = defaultdict(lambda: -1)
    wrong = []
    for frame_id, (row, _) in first_rows.items():
        partition, _, offset = frame_id.rpartition("/")
        line = (row.key, partition)
        if int(offset) < newest[line]:
            wrong.append(frame_id)
        newest[line] = max(newest[line], int(offset))
    return wrong


def _epochs(evidence: Evidence, bodies: Sequence[tuple[Row, dict]]) -> list[str]:
    """One worker numbers its models upwards, each number means one model, and a stream never goes
    back to an earlier one. Rows don't name their worker, so this is of runs with one."""
    if not evidence.has_one_worker:
        return []
    digests: dict[int, str] = {}
    newest: dict[str, int] = defaultdict(int)
    wrong = []
    for row, body in bodies:
        model = body["model"]
        if model is None:
            continue
        if digests.setdefault(model["epoch"], model["sha256"]) != model["sha256"]:
            wrong.append(f"{_id(row)}: epoch {model['epoch']} is two models")
        if model["epoch"] < newest[body["stream"]]:
            wrong.append(f"{_id(row)}: epoch {model['epoch']} after {newest[body['stream']]}")
        newest[body["stream"]] = max(newest[body["stream"]], model["epoch"])
    return wrong


def _counters(evidence: Evidence) -> list[str]:
    wrong = []
    done = 0
    for place, each in enumerate(evidence.summaries):
        outcomes = each["scored"] + each["shed"] + each["rejected"]
        done += outcomes
        if each["received"] != outcomes + each["in_flight"]:
            wrong.append(f"worker {place}: {dict(each)} don't add up")
    rows = len(evidence.results)
    is_too_many = done > rows and not evidence.is_strict
    if is_too_many or (evidence.has_all_summaries and done < rows):
        wrong.append(f"the workers count {done} outcomes, there are {rows} rows")
    return wrong


def _late(evidence: Evidence) -> list[str]:
    moments = sorted(row.timestamp_ms / 1000 for row in evidence.results)
    wrong = []
    for fault in evidence.faults:
        after = next((moment for moment in moments if moment > fault.ended_at), None)
        if after is None or after > fault.ended_at + fault.budget_s:
            found = "never" if after is None else f"{after - fault.ended_at:.1f} s"
            wrong.append(f"{fault.name}: first result after {found}, budget {fault.budget_s:g} s")
    return wrong


def _stuck(evidence: Evidence) -> list[str]:
    if evidence.most_gap_s is None:
        return []
    moments: dict[str, list[float]] = defaultdict(list)
    for row in evidence.results:
        moments[_id(row).rpartition("/")[0]].append(row.timestamp_ms / 1000)
    wrong = []
    for partition, at in moments.items():
        gap_s = max((b - a for a, b in itertools.pairwise(sorted(at))), default=0.0)
        if gap_s > evidence.most_gap_s:
            wrong.append(f"{partition}: no result for {gap_s:.1f} s")
    return wrong


def _repeated(evidence: Evidence, duplicates: int) -> list[str]:
    if duplicates <= evidence.most_duplicates:
        return []
    return [f"{duplicates} rows came twice, allowed are {evidence.most_duplicates}"]
