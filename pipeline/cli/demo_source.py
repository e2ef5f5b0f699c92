"""What the demo shows: digits, or a source of the user's own at a pace that can be looked at."""

from __future__ import annotations

from pathlib import Path

_STREAMS = 4
_FPS = 15.0
_LABELS_PER_S = 5


def digits(streams: int | None, fps: float | None, night_s: float) -> str:
    """The demo's own streams, on which night falls after so many seconds; 0: never."""
    fps = fps or _FPS
    night = f"&night={round(night_s * fps)}" if night_s else ""
    return f"synthetic:digits?mode=live&streams={streams or _STREAMS}&fps={fps:g}{night}"


def labelled(folder: Path, streams: int | None, fps: float | None) -> str:
    """The sink that plays the people who label: some frames a second, whatever comes."""
    every = max(1, round((streams or _STREAMS) * (fps or _FPS) / _LABELS_PER_S))
    return f"labelled:{folder}?every={every}"


def paced(source: str, fps: float | None) -> str:
    """Gives a video's URL with its own rate, and a folder's with 15 pictures a second, or both with
    ``fps``: as fast as they can be read they would be over before the page is open.

    Raises:
        ConfigError: it isn't there, can't be opened, or takes no ``fps``.
    """
    from pipeline.clock import SystemClock
    from pipeline.errors import ConfigError
    from pipeline.source.directory import DirectorySource
    from pipeline.source.url import Surroundings, make_source
    from pipeline.source.video import VideoSource

    made = make_source(source, Surroundings(SystemClock()))
    if not isinstance(made, VideoSource | DirectorySource) or made.is_paced:
        if fps is not None:
            raise ConfigError(
                "--fps is of the demo's own digits, and of videos and folders without ?fps="
            )
        return source
    if fps is None and isinstance(made, VideoSource):
        made.open()
        fps = made.frames_per_s
        made.close()
    if "?" in source:  # of the name: the only option there is isn't given
        source = source.replace("%", "%25").replace("?", "%3F")
    return f"{source}?fps={fps or _FPS:g}"
