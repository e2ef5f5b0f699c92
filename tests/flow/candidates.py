"""Candidates that no worker should take: how each comes into its registry, why it is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.artifact.artifact import Draft, Golden
from pipeline.artifact.keys import SigningKey
from pipeline.artifact.manifest import GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE
from pipeline.artifact.signature import SIGNATURE_FILE
from tests.artifacts import LABELS, SPEC, slow_draft, tiny_draft, tiny_model_bytes
from tests.flow.running import Running
from tests.networks import (
    ANOTHER_CLASS,
    NO_NUMBERS,
    SLOW,
    Exchanged,
    NanWeights,
    Writing,
    WritingAtLoad,
    draft_of,
    wrong_on_white,
)
from tests.pictures import GREY, WHITE

ONE_IN_TEN = (*(GREY,) * 9, WHITE)
GOOD = tiny_draft(bias=0.7)


class Candidate(NamedTuple):
    """``publish`` gives its version."""

    what: str
    reason: str
    publish: Callable[[Running], int]


def plainly(draft: Draft) -> Callable[[Running], int]:
    """Signed where the worker asks for it, as somebody may have been deceived."""
    return lambda running: running.publish(draft)


def with_key(key: SigningKey | None) -> Callable[[Running], int]:
    """A good network, signed by whom the worker doesn't trust, or by nobody."""
    return lambda running: running.publish_by(key, GOOD)


def altered(
    change: Callable[[Path], object], draft: Draft = GOOD, *, agrees: bool = False
) -> Callable[[Running], int]:
    """Its folder is changed after its publication; see ``Running.publish_altered``."""
    return lambda running: running.publish_altered(draft, change, agrees=agrees)


def writing(network: type[Writing | WritingAtLoad]) -> Callable[[Running], int]:
    """A network that would write the worker's trap."""
    return lambda running: running.publish(draft_of(network(str(running.trap))))


def writing_unsigned(network: type[Writing | WritingAtLoad]) -> Callable[[Running], int]:
    """The same, by somebody without a key."""
    return lambda running: running.publish_by(None, draft_of(network(str(running.trap))))


def live(draft: Draft, *pictures: bytes) -> Callable[[Running], int]:
    """The cameras show this from the beginning of its trial on."""

    def publish(running: Running) -> int:
        running.show(*pictures)
        return running.publish(draft)

    return publish


def live_as_canary(draft: Draft, *pictures: bytes) -> Callable[[Running], int]:
    """The cameras show this once it scores some streams: in the shadow it has never seen that."""

    def publish(running: Running) -> int:
        version = running.publish(draft)
        running.until_named(version)
        running.show(*pictures)
        return version

    return publish


def replayed(running: Running) -> int:
    """The registry's first version, which was good and is signed."""
    running.point_at(1)
    return 1


def cut(file: str, tenths: int) -> Callable[[Path], object]:
    """Leaves so many tenths of a file."""

    def change(folder: Path) -> None:
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content[: len(content) * tenths // 10])

    return change


def other_network(folder: Path) -> None:
    """A good one of another version."""
    (folder / MODEL_FILE).write_bytes(tiny_model_bytes(bias=0.8))


def golden_without_numbers(folder: Path) -> None:
    """Golden outputs as publishing takes none."""
    golden = Golden.from_bytes((folder / GOLDEN_FILE).read_bytes())
    none_nk = np.full_like(golden.logits_nk, np.nan)
    (folder / GOLDEN_FILE).write_bytes(Golden(golden.inputs_nhwc, none_nk).to_bytes())


def other_size(folder: Path) -> None:
    """Another preprocessing under the digest of the old one."""
    path = folder / MANIFEST_FILE
    changed = path.read_bytes().replace(b'"width": 24', b'"width": 32')
    assert changed != path.read_bytes()
    path.write_bytes(changed)


def other_signature(folder: Path) -> None:
    """A trusted key's, of the manifest of the version before."""
    before = folder.parent / str(int(folder.name) - 1) / SIGNATURE_FILE
    (folder / SIGNATURE_FILE).write_bytes(before.read_bytes())


def exchanged() -> Draft:
    """Its first output is in the last one's place; so it is in its golden ones."""
    draft = draft_of(Exchanged())
    inputs_nhwc, logits_nk = draft.golden.inputs_nhwc, draft.golden.logits_nk
    return replace(draft, golden=Golden(inputs_nhwc, logits_nk[:, ::-1].copy()))


def prepared(**other: object) -> Draft:
    """The same network after another preprocessing."""
    return tiny_draft(bias=0.7, spec=SPEC.model_copy(update=other))


NAN_WEIGHTS = Candidate("NaN weights", "wrong_on_golden", plainly(draft_of(NanWeights())))
WRONG = [
    NAN_WEIGHTS,
    Candidate(
        "NaN weights and golden outputs",
        "corrupt",
        altered(golden_without_numbers, draft_of(NanWeights()), agrees=True),
    ),
    Candidate(
        "two labels exchanged",
        "incompatible",
        plainly(tiny_draft(labels=(LABELS[1], LABELS[0], LABELS[2]), bias=0.7)),
    ),
    Candidate(
        "a label more", "incompatible", plainly(tiny_draft(labels=(*LABELS, "blinding"), bias=0.7))
    ),
    Candidate("two outputs exchanged", "wrong_on_golden", plainly(draft_of(Exchanged()))),
    Candidate("another size", "incompatible", plainly(prepared(width=32))),
    Candidate("resized otherwise", "incompatible", plainly(prepared(resize="letterbox"))),
    Candidate("in grey", "incompatible", plainly(prepared(grayscale=True))),
    Candidate("another size under the old digest", "corrupt", altered(other_size)),
    Candidate(
        "normalised otherwise",  # which is inside the network
        "wrong_on_golden",
        plainly(replace(GOOD, model=tiny_model_bytes(bias=0.8))),
    ),
]

CUT = [
    Candidate(f"{tenths} tenths of {file}", "corrupt", altered(cut(file, tenths)))
    for file in (MODEL_FILE, GOLDEN_FILE, MANIFEST_FILE)
    for tenths in range(10)
]
CUT_MODEL_THAT_AGREES, CUT_GOLDEN_THAT_AGREES = (
    [
        Candidate(
            f"{tenths} tenths of {file}, as the manifest says",
            "corrupt",
            altered(cut(file, tenths), agrees=True),
        )
        for tenths in range(10)
    ]
    for file in (MODEL_FILE, GOLDEN_FILE)
)

WRITES_WHEN_LOADED = Candidate("writes when loaded", "forbidden", writing(WritingAtLoad))
WRITES_WHEN_RUN = Candidate("writes when run", "forbidden", writing(Writing))
UNTRUSTED = [
    Candidate("unsigned", "untrusted", with_key(None)),
    Candidate("signed by another key", "untrusted", with_key(SigningKey.new())),
    Candidate("with another version's signature", "untrusted", altered(other_signature)),
    Candidate("its manifest cut", "untrusted", altered(cut(MANIFEST_FILE, 5))),
    Candidate(
        "another network, as the manifest says", "untrusted", altered(other_network, agrees=True)
    ),
    Candidate("another network", "corrupt", altered(other_network)),
    Candidate("an older one that was good", "replayed", replayed),
    Candidate("unsigned, writes when loaded", "untrusted", writing_unsigned(WritingAtLoad)),
    Candidate("unsigned, writes when run", "untrusted", writing_unsigned(Writing)),
]

SLOW_IN_THE_PROBE = Candidate("far too slow", "too_slow", plainly(slow_draft("tiny", 10**6)))
ON_LIVE_FRAMES = [
    Candidate(
        "worse on a tenth of the frames",
        "shadow",
        live(wrong_on_white(ANOTHER_CLASS), *ONE_IN_TEN),
    ),
    Candidate(
        "without numbers on a tenth of the frames",
        "shadow",
        live(wrong_on_white(NO_NUMBERS), *ONE_IN_TEN),
    ),
    Candidate("two outputs exchanged, golden ones too", "shadow", plainly(exchanged())),
    Candidate("slow", "too_slow", live(wrong_on_white(SLOW), WHITE)),
]
AS_CANARY = [
    Candidate(
        "worse on a tenth of its frames",
        "canary",
        live_as_canary(wrong_on_white(ANOTHER_CLASS), *ONE_IN_TEN),
    ),
    Candidate(
        "without numbers on a tenth of its frames",
        "canary",
        live_as_canary(wrong_on_white(NO_NUMBERS), *ONE_IN_TEN),
    ),
    Candidate("slow on its frames", "too_slow", live_as_canary(wrong_on_white(SLOW), WHITE)),
]
