from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.errors import ConfigError, SourceUnavailable
from pipeline.source.base import Source
from pipeline.source.camera import CameraSource
from pipeline.source.directory import DirectorySource
from pipeline.source.mjpeg import MjpegSource
from pipeline.source.synthetic import SyntheticSource
from pipeline.source.url import Surroundings, make_source, make_sources
from pipeline.source.video import VideoSource
from tests.clips import BIKES
from tests.support import noise_jpeg


def _make(url: str) -> Source:
    return make_source(url, Surroundings(SystemClock()))


@pytest.mark.parametrize(
    ("url", "kind", "name"),
    [
        ("rtsp://10.0.0.9:554/live", CameraSource, "rtsp://10.0.0.9:554/live"),
        ("RTSPS://cam/live", CameraSource, "rtsps://cam/live"),
        ("http://cam/mjpeg", MjpegSource, "http://cam/mjpeg"),
        ("https://cam/mjpeg", MjpegSource, "https://cam/mjpeg"),
        ("camera:0", CameraSource, "camera-0"),
        ("synthetic:digits", SyntheticSource, "digits"),
        (str(BIKES), VideoSource, "bikes.mp4"),
        (f"{BIKES}?fps=30", VideoSource, "bikes.mp4"),
        (f"file:{BIKES}", VideoSource, "bikes.mp4"),
        (BIKES.as_uri(), VideoSource, "bikes.mp4"),
        (f"dir:{BIKES.parent}?fps=2.5", DirectorySource, "data"),
        (str(BIKES.parent), DirectorySource, "data"),
    ],
)
def test_a_url_names_its_source(url: str, kind: type, name: str) -> None:
    source = _make(url)
    assert type(source) is kind
    assert source.info.name == name


def test_cameras_are_live_and_files_are_lossless() -> None:
    for url in ("rtsp://cam/x", "http://cam/x", "camera:0"):
        info = _make(url).info
        assert (info.delivery, info.max_age_s, info.is_finite) == ("live", 1.0, False)
    for url in (str(BIKES), str(BIKES.parent)):
        info = _make(url).info
        assert (info.delivery, info.max_age_s, info.is_finite) == ("lossless", None, True)


def test_digits_are_lossless_unless_told_and_finite_with_a_count() -> None:
    assert _make("synthetic:digits?fps=30").info.delivery == "lossless"
    assert not _make("synthetic:digits?fps=30").info.is_finite
    live = _make("synthetic:digits?mode=live&max_age=250ms&count=3").info
    assert (live.delivery, live.max_age_s, live.is_finite) == ("live", 0.25, True)


def test_a_camera_takes_its_deadline_from_the_url() -> None:
    assert _make("rtsp://cam/x?max_age=500ms").info.max_age_s == pytest.approx(0.5)
    assert _make("camera:1?max_age=2s").info.max_age_s == pytest.approx(2.0)


def test_what_a_camera_is_asked_itself_is_left_to_it_but_for_our_options() -> None:
    source = _make("http://cam/axis?channel=2&max_age=2s&tok%20en=a+b")
    assert source.info.name == "http://cam/axis?channel=2&tok+en=***"


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:hunter2@cam:554/live",
        "http://admin:hunter2@cam/mjpeg",
        "http://cam/mjpeg?user=admin&pwd=hunter2",
        "rtsp://admin:hun#ter2@cam/live?pwd=hunter2",
        "rtsp://admin:77#hunter2@cam/live",
        "rtsp://admin:7/hunter2@cam/live",
    ],
)
def test_a_password_is_never_in_a_name_or_an_error(url: str) -> None:
    try:
        shown = repr(_make(url).info)
    except ConfigError as error:
        shown = f"{error} {error.__cause__}"
    assert "hunter2" not in shown
    assert "ter2" not in shown
    assert "admin" not in shown


def test_a_password_is_not_in_the_error_of_a_camera_that_is_away() -> None:
    for scheme in ("rtsp", "http"):
        source = _make(f"{scheme}://admin:hunter2@127.0.0.1:1/x?open_timeout=1s")
        with pytest.raises(SourceUnavailable) as caught:
            source.open()
        assert "hunter2" not in str(caught.value)
        source.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("synthetic:digits?stream=4", "unknown option 'stream', expected fps, streams"),
        ("synthetic:digits?fps=0", "above 0"),
        ("synthetic:digits?fps=inf", "above 0"),
        ("synthetic:digits?night=5&cycle=9", "got night and cycle"),
        ("synthetic:digits?streams=2.5", "expected a number"),
        ("synthetic:digits?streams=1000000000", "expected at most 1024"),
        ("synthetic:digits?seed=-1", "0 or above"),
        ("synthetic:digits?width=100000", "16 to 4096"),
        ("synthetic:digits?mode=fast", "lossless or live"),
        ("synthetic:digits?fps=1&fps=2", "given twice"),
        ("synthetic:letters", "expected synthetic:digits"),
        ("camera:front", "camera:0"),
        ("camera:0?fps=5", "unknown option 'fps', expected max_age, open_timeout, read_timeout"),
        ("rtsp://cam/x?max_age=5", "500ms"),
        ("rtsp:///x", "no host"),
        ("http://cam:port/x", "no valid port"),
        ("kafka://localhost:9092", "expected kafka://HOST:PORT"),
        ("kafka://u:p@localhost:9092/frames", "expected kafka://HOST:PORT"),
        ("kafka://localhost:9092/frames?mode=fast", "expected lossless, live or strict"),
        ("kafka://localhost:9092/frames?mode=strict", "expected slot=NAME"),
        ("kafka://localhost:9092/frames?slot=0", "expected mode=strict"),
        ("kafka://localhost:9092/frames?mode=strict&slot=a/b", "expected up to 100 letters"),
        ("kafka://localhost:9092/frames?start=now", "expected earliest or latest"),
        ("kafka://localhost:9092/frames?group=", "expected the name of a consumer group"),
        ("kafka://localhost:9092/frames?grop=g", "unknown option 'grop', expected"),
        (
            "ftp://cam/x",
            "unknown source 'ftp://cam/x', expected kafka://HOST:PORT/TOPIC, a video's path",
        ),
        (f"{BIKES}?speed=2", "unknown option 'speed', expected fps"),
        (f"dir:{BIKES}", "is a file, expected a folder"),
        ("no/such/clip.mp4", "no file or folder 'no/such/clip.mp4'"),
        ("dir:no/such/folder", "no file or folder"),
        ("", "no file or folder"),
    ],
)
def test_a_wrong_url_is_refused_with_what_was_expected(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match="expected") as caught:
        _make(url)
    assert said in str(caught.value)


def test_a_question_mark_or_an_escape_may_be_part_of_a_file_name(tmp_path: Path) -> None:
    odd = tmp_path / "what?fps=now 1.mp4"
    odd.write_bytes(BIKES.read_bytes())
    for url in (str(odd), f"file:{odd}"):
        assert _make(url).info.name == odd.name
    spaced = tmp_path / "my clip.mp4"
    spaced.write_bytes(BIKES.read_bytes())
    assert _make(f"{spaced.as_uri()}?fps=5").info.name == spaced.name


def test_sources_that_differ_in_their_suffix_alone_have_streams_of_their_own(
    tmp_path: Path,
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.jpg").write_bytes(noise_jpeg())
    for name in ("out.mp4", "out.mkv"):
        (tmp_path / name).write_bytes(BIKES.read_bytes())
    urls = [f"{tmp_path}/out.mp4", f"{tmp_path}/out.mkv", f"dir:{tmp_path}/out"]
    sources = make_sources(urls, Surroundings(SystemClock()))
    assert [source.info.name for source in sources] == ["out.mp4", "out~2.mkv", "out~3"]
    streams: list[str] = []
    for source in sources:
        source.open()
        streams += [frame.stream for frame in source.poll(1, 1.0)]
        source.close()
    assert streams == ["out", "out~2", "out~3"]


@pytest.mark.parametrize("url", ["rtsp://host/x", "http://host/x", "camera:0"])
def test_a_camera_that_may_keep_still_for_longer_than_a_call_may_take_is_refused(url: str) -> None:
    around = Surroundings(SystemClock(), stall_timeout_s=30)
    assert make_source(f"{url}?open_timeout=9s&read_timeout=20s", around).info.blocks_s == 29
    for timeouts in ("open_timeout=10s&read_timeout=20s", "open_timeout=15s", "read_timeout=1m"):
        with pytest.raises(ConfigError, match="s to open, and after 30 s a call counts as hung"):
            make_source(f"{url}?{timeouts}", around)


def test_two_sources_of_one_name_get_different_names_and_streams(tmp_path: Path) -> None:
    for folder in ("left", "right"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "out.mp4").write_bytes(BIKES.read_bytes())
    urls = [f"{tmp_path}/left/out.mp4", f"{tmp_path}/right/out.mp4"]
    urls += ["synthetic:digits?count=1", "synthetic:digits?count=1&seed=2"]
    sources = make_sources(urls, Surroundings(SystemClock()))
    assert [s.info.name for s in sources] == ["out.mp4", "out~2.mp4", "digits", "digits~2"]
    streams: list[str] = []
    for source in sources:
        source.open()
        streams += [frame.stream for frame in source.poll(1, 1.0)]
        source.close()
    assert streams == ["out", "out~2", "digits-0", "digits~2-0"]
