"""The live page in a real browser, before a real server and live view fed with real pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from pipeline.clock import ManualClock
from pipeline.digits import Scene
from pipeline.drift import Drift, DriftState
from pipeline.metrics import FrameCounts
from pipeline.server.app import make_app
from pipeline.server.run import HttpServer
from pipeline.sink.live import LiveView
from pipeline.types import ModelIdentity, Rejected, SwapEvent, TrialState
from tests.browser import chromium, screenshot_path
from tests.watched import (
    LABELS,
    WatchedState,
    frame,
    scored,
    scored_labels,
    scored_values,
    serving,
)

pytestmark = pytest.mark.browser

_STREAMS = ("camera-1", "camera-2", "camera-3", "camera-4")
_SKILL = {1: 0.31, 2: 0.64, 3: 0.83, 4: 0.93, 5: 0.97}
"""How often each version is right: a training that goes well."""

FAR = Drift(1.42, 0.04, (1.0, 0.0), (0.0, 1.0))
NEAR = Drift(0.03, 0.05, (0.5, 0.5), (0.5, 0.5))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


class _Show:
    """A live view as after some minutes of a demo: time is the test's own, so it takes none."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.state = WatchedState(live=LiveView(self.clock))
        self._rng = np.random.default_rng(7)
        self._scenes = {name: Scene(number) for number, name in enumerate(_STREAMS)}
        self._offset = 0

    @property
    def live(self) -> LiveView:
        return self.state.live

    def run(self, version: int, seconds: int) -> None:
        """Streams at ten frames a second; only the last second's pictures are encoded."""
        model = self.state.active = _identity(version)
        for tick in range(10 * seconds):
            wants_pictures = tick >= 10 * (seconds - 1)
            for name in _STREAMS:
                self._score(name, model, wants_pictures)
            self.live.note_batch(int(self._rng.choice([2, 4, 4, 4, 8])))
            self._offset += 1
            self.clock.advance(0.1)
        total = self._offset * len(_STREAMS)
        self.state.frames = FrameCounts(
            received={"all": total + 42},
            scored={"all": total},
            shed={("all", "superseded"): 35},
            rejected={("all", "corrupt"): 3},
            in_flight=4,
        )

    def swap_to(self, version: int) -> None:
        model = _identity(version)
        self.live.note_swap(
            SwapEvent(
                at=self.clock.now(),
                name=model.name,
                version=version,
                sha256=model.sha256,
                epoch=model.epoch,
                result="swapped",
                pause_s=0.0004 * version,
            )
        )

    def refuse(self, version: int) -> None:
        why = "golden output 3 differs by 4.71, expected at most 0.001"
        model = _identity(version)
        self.live.note_swap(
            SwapEvent(
                self.clock.now(), model.name, version, model.sha256, 3, "wrong_on_golden", why
            )
        )

    def try_out(self, version: int) -> None:
        model = _identity(version)
        findings = "it named another class than the active model for 12 of 640 frames (1.9%)"
        self.live.note_drift(DriftState(300, {"brightness": FAR, "labels": NEAR}))
        self.live.note_trial(
            TrialState(
                *(model.name, version, model.sha256, "canary"),
                *(self.clock.now(), 640, findings),
            )
        )

    def _score(self, name: str, model: ModelIdentity, wants_pictures: bool) -> None:
        scene = self._scenes[name]
        truth = scene.label(self._offset)
        is_right = self._rng.random() < _SKILL[model.version]
        of = frame(
            scene.jpeg(self._offset) if wants_pictures else b"",
            stream=name,
            offset=self._offset,
            captured_at=self.clock.now(),
            truth=truth,
            max_age_s=0.5,
        )
        says = truth if is_right else LABELS[(int(truth) + 3) % 10]
        sure = float(self._rng.uniform(0.55, 0.75) + 0.05 * model.version)
        age_s = float(self._rng.gamma(6, 0.004))
        self.live.write([scored(of, says=says, confidence=sure, age_s=age_s, model=model)])
        self.live.collect(0.0)


def _identity(version: int) -> ModelIdentity:
    sha256 = np.random.default_rng(version).bytes(32).hex()
    return ModelIdentity("digits", version, sha256, epoch=version)


@pytest.fixture
def show() -> _Show:
    show = _Show()
    show.run(1, 40)
    show.swap_to(2)
    show.run(2, 45)
    show.refuse(9)
    show.run(2, 15)
    show.swap_to(3)
    show.run(3, 50)
    show.swap_to(4)
    show.run(4, 60)
    show.swap_to(5)
    show.run(5, 40)
    show.try_out(6)
    return show


def _open(page: Page, url: str) -> list[str]:
    """Opens the page; gives a list that fills with whatever goes wrong on it."""
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type != "log" else None)
    page.on(
        "request",
        lambda asked: (
            troubles.append(f"asked for {asked.url}")
            if not asked.url.startswith((url, "blob:"))
            else None
        ),
    )
    page.goto(url)
    return troubles


def _wait_for_pictures(page: Page) -> None:
    for picture in page.locator(".view img").all():
        expect(picture).to_have_js_property("naturalWidth", 640)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_shows_streams_figures_the_identity_and_swaps(
    browser: Browser, show: _Show, scheme: str
):
    page = browser.new_page(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 1280, "height": 1500},
    )
    with serving(show.state) as url:
        troubles = _open(page, url)
        expect(page.locator("#state-text")).to_have_text("ready")
        expect(page.locator("#model-name")).to_have_text("digits@5")
        expect(page.locator("#model-digest")).to_have_text(_identity(5).sha256[:8])
        expect(page.locator("#model-epoch")).to_have_text("epoch 5")
        expect(page.locator("#rate")).to_have_text(re.compile(r"(39|40)\.\d"))
        identity = page.locator("#identity")
        expect(identity).to_contain_text("10,042")
        expect(identity).to_have_text("10,042received=10,000scored+35shed+3rejected+4in flight")
        expect(page.locator("#reasons")).to_have_text("35 shed: superseded · 3 rejected: corrupt")
        expect(page.locator(".stream")).to_have_count(4)
        for number in range(4):
            card = page.locator(".stream").nth(number)
            expect(card.locator(".name")).to_have_text(_STREAMS[number])
            expect(card.locator(".version")).to_have_text("v5")
            expect(card.locator(".guess")).to_have_count(5)
            expect(card.locator(".truth")).to_contain_text("✓")
            expect(card.locator(".badge").first).to_have_text("fresh")
        _wait_for_pictures(page)
        expect(page.locator("#swaps tbody tr")).to_have_count(5)
        expect(page.locator("#swaps tbody tr").nth(0)).to_contain_text("digits@5")
        refused = page.locator("#swaps tbody tr").nth(3)
        expect(refused).to_contain_text("wrong on golden")
        expect(refused).to_contain_text("differs by 4.71")
        drift = page.locator("#drift .term")
        expect(drift).to_have_text(["1.38brightness", "0.00labels"])
        expect(page.locator("#drift-note")).to_contain_text("300 frames")
        expect(page.locator(".drift-much")).to_have_text("1.38")
        trial = page.locator("#trial")
        expect(trial.locator("#trial-kind")).to_have_text("canary")
        expect(trial.locator("#trial-model")).to_have_text("digits@6")
        expect(trial.locator("#trial-since")).to_contain_text("640 frames")
        expect(trial.locator("#trial-findings")).to_contain_text("for 12 of 640 frames (1.9%)")
        expect(page.locator("#history .swap")).to_have_count(4)
        expect(page.locator("#history .refusal")).to_have_count(1)
        expect(page.locator("#batches .column")).to_have_count(3)
        page.screenshot(path=screenshot_path(f"page-{scheme}"), full_page=True)
        assert troubles == []
    page.close()


def test_the_page_follows_what_happens(browser: Browser):
    clock = ManualClock()
    state = WatchedState(live=LiveView(clock), active=None, not_ready="the model is being loaded")
    scene = Scene(0)
    page = browser.new_page()
    with serving(state) as url:
        _open(page, url)
        expect(page.locator("#state-text")).to_have_text("the model is being loaded")
        expect(page.locator("#no-streams")).to_be_visible()
        expect(page.locator("#accuracy-card")).to_be_hidden()
        state.active, state.not_ready = _identity(1), None
        state.live.write([scored(frame(scene.jpeg(0), stream="door", max_age_s=1), says="4")])
        card = page.locator(".stream")
        expect(card.locator(".top")).to_have_text("4")
        expect(card.locator(".truth")).to_be_hidden()
        picture = card.locator("img")
        expect(picture).to_have_attribute("src", _ANY_BLOB)
        first = picture.get_attribute("src")
        late = frame(scene.jpeg(100), stream="door", offset=1, max_age_s=1, truth="6")
        state.live.write(
            [
                scored(late, says="5", age_s=2),
                Rejected(frame(stream="door", offset=2), "corrupt", "no JPEG", clock.now()),
            ]
        )
        expect(card.locator(".top")).to_have_text("5")
        expect(card.locator(".badge").first).to_have_text("stale")
        expect(card.locator(".truth")).to_have_text("✗ it is 6")
        expect(card.locator(".rejection")).to_have_text("last rejection: corrupt: no JPEG")
        expect(picture).not_to_have_attribute("src", str(first))
        clock.advance(60)
        expect(card.locator(".badge").first).to_have_text("silent for 60.0 s")
    page.close()


def test_the_page_shows_labels_and_values(browser: Browser):
    state = WatchedState()
    picture = Scene(0).jpeg(0)
    likely = {"person": 0.97, "hat": 0.61, "dog": 0.2}
    state.live.write(
        [
            scored_labels(frame(picture, stream="a", truth="hat"), likely),
            scored_labels(frame(picture, stream="b"), {"person": 0.4, "hat": 0.1}),
            scored_values(frame(picture, stream="c"), {"2": 1234.567, "1": -0.25}),
        ]
    )
    page = browser.new_page()
    with serving(state) as url:
        troubles = _open(page, url)
        expect(page.locator(".stream .top")).to_have_text(["person, hat", "none", "2: 1,235"])
        labels, _, values = page.locator(".stream").all()
        expect(labels.locator(".guess")).to_have_count(3)
        expect(labels.locator(".guess").first).to_have_text("person97.0 %")
        expect(labels.locator(".truth")).to_be_hidden()
        expect(values.locator(".guess")).to_have_text(["21,235", "1-0.25"])
        expect(values.locator(".track").first).to_be_hidden()
        expect(page.locator("#accuracy-card")).to_be_hidden()
        _wait_for_pictures(page)
        page.screenshot(path=screenshot_path("page-tasks"), full_page=True)
        assert troubles == []
    page.close()


def test_the_page_says_when_the_worker_is_gone_and_comes_back(browser: Browser):
    state = WatchedState()
    first = HttpServer(make_app(state), "127.0.0.1", 0)
    first.start()
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{first.port}")
    said = page.locator("#state-text")
    expect(said).to_have_text("ready")
    first.stop()
    expect(said).to_contain_text("connection lost since")
    again = HttpServer(make_app(state), "127.0.0.1", first.port)
    again.start()
    try:
        expect(said).to_have_text("ready")
    finally:
        page.close()
        again.stop()


def test_a_streams_name_is_only_ever_text(browser: Browser):
    state = WatchedState()
    names = [
        "<script>document.title = 'owned'</script>",
        "<img src=x onerror=\"document.title='owned'\">",
        '"><svg onload=alert(1)>/../%2e%2e?#\n',
    ]
    for name in names:
        of = frame(Scene(0).jpeg(0), stream=name, truth="<b>3</b>")
        state.live.write([scored(of), Rejected(of, "corrupt", "<i>detail</i>", 0.0)])
    state.live.note_swap(SwapEvent(1.0, "<u>name</u>", 2, "", 2, "missing", "<script>x</script>"))
    said = "<script>y</script>"
    state.live.note_trial(TrialState("<u>name</u>", 3, "", "shadow", 1.0, 5, said))
    page = browser.new_page()
    with serving(state) as url:
        troubles = _open(page, url)
        expect(page.locator(".stream")).to_have_count(3)
        _wait_for_pictures(page)
        assert sorted(page.locator(".stream .name").evaluate_all(_TEXTS)) == sorted(names)
        expect(page.locator("#swaps tbody")).to_contain_text("<script>x</script>")
        expect(page.locator("#trial-findings")).to_have_text(said)
        expect(page.locator("#trial-model")).to_have_text("<u>name</u>@3")
        state.live.note_trial(None)
        expect(page.locator("#trial")).to_be_hidden()
        assert (
            page.locator("main script, main b b, main u, main i i, main svg[onload]").count() == 0
        )
        assert page.title() == "digits@1 · Headrace"
        assert troubles == []
    page.close()


def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, show: _Show):
    page = browser.new_page(
        viewport={"width": 390, "height": 844}, device_scale_factor=2, is_mobile=True
    )
    with serving(show.state) as url:
        troubles = _open(page, url)
        expect(page.locator("#history .swap")).to_have_count(4)
        expect(page.locator(".view img").first).to_have_js_property("naturalWidth", 640)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.screenshot(path=screenshot_path("page-phone"), full_page=True)
        assert troubles == []
    page.close()


_TEXTS = "all => all.map(each => each.textContent)"
_ANY_BLOB = re.compile("^blob:")
