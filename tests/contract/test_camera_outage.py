"""How cameras fail, and that it is found: never later than the time-outs that they were given.

What is to be found is found within the read time-out and some seconds, for a busy machine; a camera
that comes back has longer, and still far below FFmpeg's own 30 s.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator

import pytest

from pipeline.clock import SystemClock
from pipeline.errors import ConfigError, SourceUnavailable
from pipeline.image_header import read_header
from pipeline.source.base import Source
from pipeline.source.url import Surroundings, make_source
from pipeline.types import Frame
from tests.mjpeg import PASSWORD, USER, MjpegCamera
from tests.rtsp import RtspCamera
from tests.support import wait_until

_TIMEOUTS = "open_timeout=2s&read_timeout=1s"
_FOUND_WITHIN_S = 4.0
_BACK_WITHIN_S = 15.0


@pytest.fixture
def rtsp() -> Iterator[RtspCamera]:
    with RtspCamera() as camera:
        yield camera


@pytest.fixture(scope="module")
def mjpeg() -> Iterator[MjpegCamera]:
    with MjpegCamera() as camera:
        yield camera


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def _camera(url: str) -> Source:
    join = "&" if "?" in url else "?"
    return make_source(f"{url}{join}{_TIMEOUTS}", Surroundings(SystemClock()))


def _read(source: Source, count: int) -> list[Frame]:
    frames: list[Frame] = []
    while len(frames) < count:
        frames += source.poll(8, 0.5)
    return frames


def _read_until_it_fails(source: Source) -> str:
    """Reads on and gives what the source says when it breaks off."""
    end = time.monotonic() + _FOUND_WITHIN_S
    while time.monotonic() < end:
        try:
            source.poll(8, 0.5)
        except SourceUnavailable as error:
            return str(error)
    raise AssertionError(f"the outage wasn't found within {_FOUND_WITHIN_S} s")


def _reopen(source: Source) -> None:
    """Opens as the intake does: again and again until it works."""
    end = time.monotonic() + _BACK_WITHIN_S
    while True:
        source.close()
        try:
            source.open()
        except SourceUnavailable:
            assert time.monotonic() < end
        else:
            return


@pytest.mark.camera
def test_a_killed_rtsp_camera_is_found_and_comes_back_with_another_size(rtsp: RtspCamera) -> None:
    source = _camera(rtsp.url)
    source.open()
    before = _read(source, 5)
    rtsp.kill()
    assert "gave no frame" in _read_until_it_fails(source)
    rtsp.width, rtsp.height = 160, 128
    rtsp.start()
    _reopen(source)
    after = _read(source, 5)
    source.close()
    assert [f.payload.shape for f in before + after if not isinstance(f.payload, bytes)] == (
        [(240, 320, 3)] * len(before) + [(128, 160, 3)] * len(after)
    )
    offsets = [frame.position.offset for frame in before + after]
    assert offsets == sorted(set(offsets))


@pytest.mark.camera
def test_an_rtsp_camera_that_freezes_with_its_connection_open_is_found(rtsp: RtspCamera) -> None:
    source = _camera(rtsp.url)
    source.open()
    _read(source, 5)
    rtsp.freeze()
    assert "gave no frame" in _read_until_it_fails(source)
    source.close()
    with pytest.raises(SourceUnavailable, match="didn't open"):
        source.open()
    rtsp.thaw()
    _reopen(source)
    assert _read(source, 1)
    source.close()


@pytest.mark.camera
def test_a_frame_that_waited_in_a_buffer_is_dated_back(rtsp: RtspCamera) -> None:
    source = make_source(rtsp.url, Surroundings(SystemClock()))
    source.open()
    _read(source, 15)
    time_away_s = 2.0
    back_mono_s = time.monotonic() + time_away_s
    wait_until(lambda: time.monotonic() > back_mono_s)  # the reader is busy elsewhere
    late = _read(source, 2)[1]
    source.close()
    assert time.time() - late.captured_at > time_away_s / 2


def test_an_rtsp_server_that_never_answers_is_found(mute_port: int) -> None:
    source = _camera(f"rtsp://127.0.0.1:{mute_port}/test")
    with pytest.raises(SourceUnavailable, match="didn't open"):
        source.open()
    source.close()


def test_an_http_server_that_never_answers_is_found(mute_port: int) -> None:
    source = _camera(f"http://127.0.0.1:{mute_port}/mjpeg")
    with pytest.raises(SourceUnavailable, match="doesn't answer"):
        source.open()
    source.close()


@pytest.mark.parametrize("path", ["/never", "/slow-head"])
def test_an_mjpeg_camera_whose_answer_does_not_come_is_found(mjpeg: MjpegCamera, path: str) -> None:
    source = _camera(mjpeg.url(path))
    with pytest.raises(SourceUnavailable, match="timed out"):
        source.open()
    source.close()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/silent", "timed out"),
        ("/trickle", "timed out"),
        ("/ends", "ended within a picture"),
        ("/huge", "99999999999 bytes"),
    ],
)
def test_an_mjpeg_camera_that_breaks_off_is_found(mjpeg: MjpegCamera, path: str, said: str) -> None:
    source = _camera(mjpeg.url(path))
    source.open()
    assert said in _read_until_it_fails(source)
    source.close()


@pytest.mark.parametrize("path", ["/mjpeg", "/no-length", "/dashes"])
def test_mjpeg_pictures_come_as_they_were_sent(mjpeg: MjpegCamera, path: str) -> None:
    source = _camera(mjpeg.url(path))
    source.open()
    assert [frame.payload for frame in _read(source, 4)] == mjpeg.pictures
    source.close()
    assert read_header(mjpeg.pictures[0]).width == 160


@pytest.mark.parametrize(
    ("path", "said"),
    [("/nowhere", "404"), ("/private", "user and password"), ("/snapshot", "image/jpeg")],
)
def test_an_http_address_that_can_not_work_is_the_operators_to_mend(
    mjpeg: MjpegCamera, path: str, said: str
) -> None:
    source = _camera(mjpeg.url(path))
    with pytest.raises(ConfigError, match=said):
        source.open()
    source.close()


def test_a_camera_with_a_password_never_shows_it(mjpeg: MjpegCamera) -> None:
    source = _camera(f"http://{USER}:{PASSWORD}@127.0.0.1:{mjpeg.port}/private?token=s3cret")
    source.open()
    frame = _read(source, 1)[0]
    source.close()
    assert PASSWORD not in repr((source.info, frame.stream, frame.position))
    assert USER not in source.info.name


def test_a_camera_that_worked_is_waited_for_even_when_its_path_is_gone() -> None:
    with MjpegCamera() as camera:
        source = _camera(camera.url("/ends"))
        source.open()
        _read(source, 1)
    source.close()
    with pytest.raises(SourceUnavailable, match="doesn't answer"):
        source.open()


@pytest.mark.camera
def test_the_first_frame_after_opening_is_not_one_that_lay_in_a_queue(rtsp: RtspCamera) -> None:
    source = make_source(rtsp.url, Surroundings(SystemClock()))
    source.open()
    frames = _read(source, 10)
    source.close()
    spans = [
        later.received_mono_s - earlier.received_mono_s
        for earlier, later in itertools.pairwise(frames)
    ]
    # A queue is read in no time; a camera of 15 frames a second needs 0.6 s for nine more.
    assert sum(spans) > 0.3
