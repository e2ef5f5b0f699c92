"""``docs/reference`` is what the code says, and names all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import make_reference
from pipeline.cli.app import VERBS
from pipeline.config import Settings
from pipeline.durations import parse_duration
from pipeline.metrics import Metrics
from pipeline.settings import OPTIONS, OTHER_VARIABLES, setting_fields

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def _page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def test_the_reference_is_fresh() -> None:
    assert make_reference.stale() == [], "run `make reference`"


def test_a_stale_page_is_named_and_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_reference.main([], tmp_path) == 0
    assert make_reference.main(["--check"], tmp_path) == 0
    (tmp_path / "metrics.md").write_text("old")
    capsys.readouterr()
    assert make_reference.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == ("docs/reference/metrics.md is stale: run `make reference`\n")
    assert make_reference.main([], tmp_path) == 0
    assert (tmp_path / "metrics.md").read_text() == _page("metrics.md")


def test_every_setting_variable_and_metric_is_in_it() -> None:
    settings, metrics = _page("settings.md"), _page("metrics.md")
    assert not [key for key in setting_fields() if f"`{key}`" not in settings]
    assert not [name for name in OTHER_VARIABLES if f"`{name}`" not in settings]
    families = [family.name for family in Metrics().registry.collect()]
    assert len(families) > 10
    assert not [name for name in families if f"`{name}" not in metrics]


def test_every_setting_says_what_it_is_for() -> None:
    assert not [key for key, field in setting_fields().items() if not field.description]


def test_every_verb_and_option_is_in_it() -> None:
    page = _page("cli.md")
    for verb in VERBS:
        assert f"\n## headrace {verb.name}\n" in page
        command = verb.load()
        for part in (command, *getattr(command, "commands", {}).values()):
            options = [name for each in part.params for name in each.opts if name[:2] == "--"]
            assert not [name for name in options if f"{name}" not in page]


def test_every_setting_with_an_option_is_one_of_the_workers() -> None:
    worker = next(verb for verb in VERBS if verb.name == "worker").load()
    options = {name for each in worker.params for name in each.opts}
    assert set(OPTIONS.values()) <= options


def test_the_defaults_in_the_workers_help_are_the_settings() -> None:
    command = next(verb for verb in VERBS if verb.name == "worker").load()
    keys = {option: key for key, option in OPTIONS.items()}
    compared = 0
    for each in command.params:
        said = re.search(r"\[default: (\S+)\]", each.help or "")
        if said is None:
            continue
        section, _, name = keys[each.opts[0]].rpartition(".")
        default = getattr(getattr(Settings(), section) if section else Settings(), name)
        if isinstance(default, tuple):
            (default,) = default
        shown = str(parse_duration(said[1])) if name.endswith("_s") else said[1]
        assert shown == str(default), each.opts
        compared += 1
    assert compared >= 7
