from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from msgspec.structs import replace

from pipeline.clock import ManualClock
from pipeline.opencv import cv2
from pipeline.sink.base import Sink
from pipeline.sink.live import LiveView
from pipeline.types import ImageHwc, Outcome, Rejected, Scored, Shed, SwapEvent, TrialState
from tests.support import noise_jpeg
from tests.watched import frame, identity, scored, scored_labels, scored_values


def _decoded(data: bytes) -> ImageHwc:
    image_hwc = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image_hwc is not None
    return image_hwc  # pyright: ignore[reportReturnType]


def test_what_is_written_is_collected_at_once_in_order_and_only_once():
    view: Sink = LiveView(ManualClock())
    view.open()
    outcomes: list[Outcome] = [scored(frame(offset=k)) for k in range(5)]
    view.write(outcomes[:3])
    view.write(outcomes[3:])
    assert list(view.collect(0.0)) == outcomes
    assert list(view.collect(0.0)) == []
    view.close()
    view.close()
    assert view.name == "live"


def test_it_shows_each_streams_last_frame_with_truth_age_and_version():
    clock = ManualClock()
    view = LiveView(clock)
    view.write(
        [
            scored(frame(offset=1, truth="3"), says="8"),
            scored(frame(offset=2, truth="3"), says="3", age_s=0.25, model=identity(4)),
            scored(frame(stream="yard", max_age_s=0.5), says="7", age_s=0.6),
        ]
    )
    clock.advance(2)
    door, yard = view.snapshot()["streams"]
    assert door["stream"] == "door"
    assert door["idle_s"] == 2
    assert door["accuracy"] == 0.5
    shown = door["frame"]
    assert shown is not None
    assert shown["frame_id"] == "synthetic/0/2"
    assert (shown["truth"], shown["is_right"], shown["model_version"]) == ("3", True, 4)
    assert shown["age_ms"] == pytest.approx(250, abs=0.1)
    assert shown["predictions"][0] == {"class": "3", "class_id": 3, "confidence": 0.9}
    assert len(shown["predictions"]) == 5
    assert shown["fresh"] is True
    assert yard["frame"] is not None
    assert (yard["frame"]["fresh"], yard["frame"]["is_right"], yard["accuracy"]) == (
        False,
        None,
        None,
    )


def test_what_names_no_class_is_never_right_or_wrong():
    view = LiveView(ManualClock())
    view.write(
        [
            scored_labels(frame(stream="a", truth="3"), {"3": 0.9, "even": 0.2}),
            scored_values(frame(stream="b", truth="3"), {str(n): n + 0.5 for n in range(9)}),
        ]
    )
    now = view.snapshot()
    labels, values = (row["frame"] for row in now["streams"])
    assert labels is not None
    assert values is not None
    assert (labels["task"], labels["is_right"], labels["values"]) == ("multi-label", None, [])
    assert labels["predictions"][0] == {"class": "3", "class_id": 0, "confidence": 0.9}
    assert (values["task"], values["is_right"], values["predictions"]) == ("regression", None, [])
    assert values["values"] == [{"name": str(n), "value": n + 0.5} for n in range(5)]
    assert (now["accuracy"], now["accuracy_frames"], now["versions"]) == (None, 0, [])


def test_figures_are_of_the_recent_past():
    clock = ManualClock()
    view = LiveView(clock)
    for k in range(200):
        view.write([scored(frame(offset=k), age_s=0.010 + 0.001 * (k % 10))])
        clock.advance(0.01)
    now = view.snapshot()
    assert now["frames_per_s"] == pytest.approx(100, rel=0.05)
    assert now["age_ms"] is not None
    assert now["age_ms"]["p50"] == pytest.approx(14.5, abs=0.2)
    assert now["age_ms"]["p99"] == pytest.approx(19, abs=0.2)
    clock.advance(60)
    later = view.snapshot()
    assert (later["frames_per_s"], later["age_ms"]) == (0, None)


def test_a_clock_that_is_ahead_makes_no_negative_age():
    view = LiveView(ManualClock())
    view.write([scored(frame(), age_s=-3.0)])
    age_ms = view.snapshot()["age_ms"]
    assert age_ms is not None
    assert age_ms["p50"] == 0


def test_outcomes_are_counted_by_kind_and_the_last_rejection_is_told():
    view = LiveView(ManualClock())
    view.write(
        [
            scored(frame(offset=0)),
            Shed(frame(offset=1), "superseded", 1_700_000_000.0),
            Rejected(frame(offset=2), "corrupt", "the jpeg can't be decoded", 1_700_000_000.0),
        ]
    )
    now = view.snapshot()
    assert now["outcomes"] == {"scored": 1, "shed": 1, "rejected": 1}
    assert now["streams"][0]["outcomes"] == now["outcomes"]
    assert now["streams"][0]["last_rejection"] == "corrupt: the jpeg can't be decoded"


def test_a_stream_that_was_never_scored_has_a_row_without_a_frame():
    view = LiveView(ManualClock())
    view.write([Rejected(frame(), "empty", "the frame has no bytes", 0.0)])
    assert view.snapshot()["streams"][0]["frame"] is None
    assert view.picture("door") is None
    assert view.picture("nowhere") is None


def test_streams_beyond_the_limit_are_counted_together():
    view = LiveView(ManualClock(), max_streams=3)
    view.write([scored(frame(noise_jpeg(), stream=f"s{k}")) for k in range(1000)])
    now = view.snapshot()
    assert [row["stream"] for row in now["streams"]] == ["s0", "s1", "s2"]
    assert now["other"]["scored"] == 997
    assert now["outcomes"]["scored"] == 1000
    assert view.picture("s999") is None


def test_a_silent_stream_gives_its_row_to_a_new_one():
    clock = ManualClock()
    view = LiveView(clock, max_streams=2)
    view.write([scored(frame(stream="old")), scored(frame(stream="steady"))])
    clock.advance(31)
    view.write([scored(frame(stream="steady")), scored(frame(stream="new"))])
    now = view.snapshot()
    assert [row["stream"] for row in now["streams"]] == ["new", "steady"]
    assert now["other"]["scored"] == 1
    assert now["outcomes"]["scored"] == 4


def test_accuracy_is_kept_for_each_version_and_second_by_second():
    clock = ManualClock()
    view = LiveView(clock)
    for k in range(40):
        model = identity(1 if k < 25 else 2)
        says = "3" if model.version == 2 or k % 5 == 0 else "9"
        view.write([scored(frame(offset=k, truth="3"), says=says, model=model)])
        clock.advance(0.1)
    now = view.snapshot()
    assert [(row["version"], row["accuracy"], row["frames"]) for row in now["versions"]] == [
        (1, 0.2, 25),
        (2, 1.0, 15),
    ]
    assert now["model"] is not None
    assert now["model"]["version"] == 2
    assert now["accuracy"] == 0.5
    # Three seconds of the first version, the last one cut short by the swap; two of the second.
    assert [(point["version"], point["frames"]) for point in now["history"]][-2:] == [
        (2, 10),
        (2, 5),
    ]
    assert sum(point["frames"] for point in now["history"]) == 40
    assert sum(point["right"] for point in now["history"]) == 20


def test_a_canarys_answers_leave_no_gaps_in_the_active_models_line():
    clock = ManualClock()
    view = LiveView(clock)
    view.note_trial(TrialState("digits", 2, "", "canary", 0.0, 0, ""))
    for _ in range(50):
        view.write([scored(frame(truth="3"), model=identity(version)) for version in (1, 2)])
    now = view.snapshot()
    assert [(point["version"], point["frames"]) for point in now["history"]] == [(1, 50)]
    assert [(each["version"], each["frames"]) for each in now["versions"]] == [(1, 50), (2, 50)]
    view.note_trial(None)
    view.write([scored(frame(truth="3"), model=identity(2))])
    assert [point["version"] for point in view.snapshot()["history"]] == [1, 2]
    assert view.snapshot()["trial"] is None


def test_swaps_refusals_batches_and_history_are_bounded():
    clock = ManualClock()
    view = LiveView(clock)
    refusal = SwapEvent(0.0, "digits", 0, "", 1, "wrong_on_golden", "differs by 3.2")
    for k in range(2000):
        view.note_batch(1 + k % 32)
        view.note_swap(replace(refusal, version=k))
        view.write([scored(frame(offset=k, truth="3"), model=identity(1 + k))])
        view.collect(0.0)
        clock.advance(1.0)
    now = view.snapshot()
    assert [swap["version"] for swap in now["swaps"]] == list(range(1950, 2000))
    assert now["swaps"][0]["result"] == "wrong_on_golden"
    assert now["swaps"][0]["detail"] == "differs by 3.2"
    assert len(now["history"]) == 600
    assert len(now["versions"]) == 50
    assert [row["at_most"] for row in now["batches"]] == [1, 2, 4, 8, 16, 32]
    assert sum(row["batches"] for row in now["batches"]) == 512
    assert now["mean_batch"] == pytest.approx(16.5, abs=0.1)


def test_an_encoded_frame_is_given_as_it_is_with_its_own_type():
    jpeg = noise_jpeg()
    image_hwc = _decoded(jpeg)
    view = LiveView(ManualClock())
    for kind in ("jpeg", "png", "webp"):
        data = jpeg if kind == "jpeg" else cv2.imencode(f".{kind}", image_hwc)[1].tobytes()
        view.write([scored(frame(data, stream=kind))])
        picture = view.picture(kind)
        assert picture is not None
        assert (picture.content_type, picture.data) == (f"image/{kind}", data)


def test_a_raw_frame_is_encoded_and_no_wider_than_480():
    view = LiveView(ManualClock())
    image_hwc = np.zeros((360, 640, 3), np.uint8)
    image_hwc[:, :, 2] = 255  # red in BGR
    view.write([scored(frame(image_hwc)), scored(frame(image_hwc[::2, ::8, 0], stream="grey"))])
    picture, grey = view.picture("door"), view.picture("grey")
    assert picture is not None
    assert grey is not None
    assert picture.content_type == "image/jpeg"
    shown_hwc = _decoded(picture.data)
    assert shown_hwc.shape == (270, 480, 3)
    assert shown_hwc[100, 100, 2] > 250
    assert shown_hwc[100, 100, 0] < 5
    assert _decoded(grey.data).shape == (180, 80, 3)


def test_a_large_encoded_frame_is_made_smaller():
    rough_hwc = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", rough_hwc)[1].tobytes()
    view = LiveView(ManualClock())
    view.write([scored(frame(jpeg))])
    picture = view.picture("door")
    assert picture is not None
    assert len(picture.data) < len(jpeg) / 4
    assert _decoded(picture.data).shape == (270, 480, 3)


def test_a_large_encoded_frame_keeps_its_colours():
    grain_hwc = np.random.default_rng(0).integers(0, 60, (1080, 1920, 3), np.uint8)
    grain_hwc[:, :, 2] = 255  # BGR: red
    jpeg = cv2.imencode(".jpg", grain_hwc, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    assert len(jpeg) > 256 * 1024
    view = LiveView(ManualClock())
    view.write([scored(frame(jpeg))])
    picture = view.picture("door")
    assert picture is not None
    blue, green, red = _decoded(picture.data).mean(axis=(0, 1))
    assert red > 200
    assert max(blue, green) < 80


@pytest.mark.parametrize("payload", [b"", b"not a picture", noise_jpeg()[:20]])
def test_a_payload_that_is_no_picture_has_no_picture(payload: bytes):
    view = LiveView(ManualClock())
    view.write([scored(frame(payload))])
    assert view.picture("door") is None


def test_readers_see_whole_moments_while_frames_are_written():
    view = LiveView(ManualClock())
    jpeg = noise_jpeg()
    stop = threading.Event()
    torn: list[object] = []

    def read() -> None:
        while not stop.is_set():
            now = view.snapshot()
            json.dumps(now)
            of_streams = sum(row["outcomes"]["scored"] for row in now["streams"])
            if of_streams != now["outcomes"]["scored"]:
                torn.append((of_streams, now["outcomes"]))
            view.picture("s1")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    written: list[Scored] = []
    for k in range(2000):
        outcome = scored(frame(jpeg, stream=f"s{k % 4}", offset=k, truth="3"))
        view.write([outcome])
        written.append(outcome)
        view.note_batch(k % 8)
    stop.set()
    for reader in readers:
        reader.join()
    assert not torn
    assert view.snapshot()["outcomes"]["scored"] == 2000
    assert list(view.collect(0.0)) == written
