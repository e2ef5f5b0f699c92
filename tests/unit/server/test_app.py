from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.metrics import FrameCounts
from pipeline.types import Rejected, SwapEvent
from tests.support import noise_jpeg
from tests.watched import WatchedState, frame, identity, scored, serving

_NASTY_NAMES = [
    "<script>alert(1)</script>",
    "a/b/../c.jpg",
    "rtsp://camera.example:554/live?x=1&y=2#z",
    "100 % süß 🎥",
    "line\nend",
    "..",
    "%2e%2e%2f",
    "",
]


@pytest.fixture
def state() -> WatchedState:
    return WatchedState()


@pytest.fixture
def client(state: WatchedState) -> Iterator[httpx.Client]:
    with serving(state) as url, httpx.Client(base_url=url) as client:
        yield client


def test_it_is_healthy_while_it_makes_progress(state: WatchedState, client: httpx.Client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    state.not_live = "frames are in flight and nothing came of any for 31 s"
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "reason": state.not_live}


def test_it_is_ready_only_when_the_worker_is(state: WatchedState, client: httpx.Client):
    assert client.get("/readyz").status_code == 200
    state.not_ready = "the model is being loaded and warmed"
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, state.not_ready)
    assert client.get("/healthz").status_code == 200


def test_the_v2_health_endpoints_say_the_same(state: WatchedState, client: httpx.Client):
    for url, row in [("/v2/health/live", {"live": True}), ("/v2/health/ready", {"ready": True})]:
        answer = client.get(url)
        assert (answer.status_code, answer.json()) == (200, row)
    state.not_live = state.not_ready = "stuck"
    for url, row in [("/v2/health/live", {"live": False}), ("/v2/health/ready", {"ready": False})]:
        answer = client.get(url)
        assert (answer.status_code, answer.json()) == (503, row)


def test_only_the_active_model_is_ready(state: WatchedState, client: httpx.Client):
    answer = client.get("/v2/models/digits/ready")
    assert answer.status_code == 200
    assert answer.json() == {"name": "digits", "version": "1", "ready": True}
    assert client.get("/v2/models/others/ready").status_code == 404
    assert "digits" in client.get("/v2/models/others/ready").json()["error"]
    state.not_ready = "draining"
    answer = client.get("/v2/models/digits/ready")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    state.active = None
    assert client.get("/v2/models/digits/ready").status_code == 404


def test_metrics_are_prometheus_text_and_openmetrics_where_asked_for(
    state: WatchedState, client: httpx.Client
):
    state.metrics.watch_frames(lambda: state.frames)
    state.frames = FrameCounts({"door": 3}, {"door": 2}, {("door", "deadline"): 1}, {}, 0)
    plain = client.get("/metrics", headers={"accept": "*/*"})
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, sample.labels.get("reason")): sample.value
        for family in text_string_to_metric_families(plain.text)
        for sample in family.samples
    }
    assert samples["headrace_frames_received_total", None] == 3
    assert samples["headrace_frames_shed_total", "deadline"] == 1
    asked = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    opened = client.get("/metrics", headers={"accept": asked})
    assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert opened.text.endswith("# EOF\n")


def test_live_json_holds_the_identity_the_model_and_the_view(
    state: WatchedState, client: httpx.Client
):
    state.frames = FrameCounts(
        received={"a": 10, "b": 5},
        scored={"a": 7},
        shed={("a", "deadline"): 2, ("b", "deadline"): 1, ("b", "superseded"): 1},
        rejected={("b", "corrupt"): 2},
        in_flight=2,
    )
    state.live.write([scored(frame(noise_jpeg(), truth="3"))])
    state.live.note_swap(SwapEvent(1.0, "digits", 2, "ab" * 32, 2, "swapped", pause_s=0.0015))
    answer = client.get("/live.json")
    assert answer.headers["content-type"] == "application/json"
    live = answer.json()
    frames = live["frames"]
    assert frames["received"] == 15
    assert frames["received"] == sum(
        frames[kind] for kind in ("scored", "shed", "rejected", "in_flight")
    )
    assert frames["shed_by_reason"] == {"deadline": 3, "superseded": 1}
    assert frames["rejected_by_reason"] == {"corrupt": 2}
    assert live["model"] == {
        "name": "digits",
        "version": 1,
        "sha256": identity().sha256,
        "epoch": 1,
    }
    assert live["view"]["streams"][0]["frame"]["is_right"] is True
    assert live["view"]["swaps"][0]["pause_ms"] == 1.5


def test_before_the_first_model_the_page_and_its_data_are_there(
    state: WatchedState, client: httpx.Client
):
    state.active = None
    state.not_ready = "the model is being loaded and warmed"
    live = client.get("/live.json").json()
    assert (live["model"], live["not_ready"]) == (None, state.not_ready)
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("name", _NASTY_NAMES)
def test_a_streams_picture_is_found_under_any_name(
    state: WatchedState, client: httpx.Client, name: str
):
    jpeg = noise_jpeg()
    state.live.write([scored(frame(jpeg, stream=name))])
    answer = client.get(f"/streams/{quote(name, safe='')}.jpg")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content == jpeg
    assert client.get("/live.json").json()["view"]["streams"][0]["stream"] == name


def test_a_name_that_utf_8_has_no_bytes_for_breaks_nothing(
    state: WatchedState, client: httpx.Client
):
    broken = Rejected(frame(stream="\ud800"), "corrupt", "\udcff", 0.0)
    state.live.write([broken, scored(frame(noise_jpeg(), stream="door"))])
    assert client.get("/live.json").status_code == 200
    assert client.get("/streams/door.jpg").status_code == 200


def test_an_unknown_stream_is_not_found(client: httpx.Client):
    answer = client.get("/streams/nobody.jpg")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/plain")


def test_every_answer_is_guarded_and_the_page_loads_nothing_from_elsewhere(client: httpx.Client):
    for url in ("/", "/style.css", "/app.js", "/live.json", "/metrics", "/nothing", "/healthz"):
        headers = client.get(url).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] in ("no-store", "no-cache")
        assert "server" not in headers
    for name in ("", "style.css", "app.js", "charts.js", "dom.js", "streams.js"):
        text = client.get(f"/{name}").text
        assert "https://" not in text
        assert "innerHTML" not in text
    assert client.get("/live.json").headers["cache-control"] == "no-store"


def test_only_reading_is_allowed(client: httpx.Client):
    assert client.post("/live.json").status_code == 405
    assert client.head("/healthz").status_code == 200


def test_any_host_header_is_served(client: httpx.Client):
    assert client.get("/healthz", headers={"host": "worker.example:1"}).status_code == 200
