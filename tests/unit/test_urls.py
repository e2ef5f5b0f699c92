from __future__ import annotations

import pytest

from pipeline.urls import mask_text, mask_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://user:secret@cam.local/live", "rtsp://***@cam.local/live"),
        ("rtsp://user:se/cr?et#@@cam.local/live", "rtsp://***@cam.local/live"),
        ("rtsp://secret@cam.local:554/live?channel=1", "rtsp://***@cam.local:554/live?channel=1"),
        ("http://cam/mjpeg?token=secret&fps=5", "http://cam/mjpeg?token=***&fps=5"),
        ("http://u:secret@cam/m?pw=secret&max_age=1s", "http://***@cam/m?pw=***&max_age=1s"),
        ("simplecache::s3://key:secret@bucket/models", "simplecache::s3://***@bucket/models"),
        ("kafka://a:9092,b:9092/frames?group=g", "kafka://a:9092,b:9092/frames?group=g"),
    ],
)
def test_what_a_url_hides_is_masked(url: str, shown: str) -> None:
    assert mask_url(url) == shown
    assert "secret" not in mask_url(url)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "clip.mp4",
        "dir:photos@home?fps=5",
        "file:///tmp/a@b.mp4",
        "synthetic:digits?fps=30&streams=4",
        "jsonl:/tmp/out@home.jsonl",
        "digits@prod",
        "registry",
        "cuda:0",
        "http://127.0.0.1:8080/",
    ],
)
def test_what_hides_nothing_stays(text: str) -> None:
    assert mask_url(text) == text


def test_urls_are_masked_inside_a_message() -> None:
    line = "no answer from 'rtsp://u:secret@cam/live' (twice), see http://127.0.0.1:8080/ for more"
    assert mask_text(line) == (
        "no answer from 'rtsp://***@cam/live' (twice), see http://127.0.0.1:8080/ for more"
    )
