"""Names become paths, so what they may be is decided before a path is made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifact.names import check_alias, check_name, is_name, parse_model, version_of
from pipeline.errors import ConfigError

TRAVERSAL = ["", ".", "..", "../x", "a/b", "/etc", "a\\b", "a\x00", "-x", ".x", "ü", "a b", "a\n"]


@pytest.mark.parametrize("name", [*TRAVERSAL, "x" * 129])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        check_name(name)


@pytest.mark.parametrize("alias", [*TRAVERSAL, "7", "007", "config.pbtxt", "manifest.json"])
def test_an_alias_is_never_a_number_a_path_or_a_file_of_an_artifact(alias: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        check_alias(alias)


@given(st.text())
def test_whatever_passes_as_a_name_is_one_plain_part_of_a_path(name: str) -> None:
    if is_name(name):
        assert name.isascii()
        assert not {"/", "\\", "\x00", "@"} & set(name)
        assert name.strip(".") != ""


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("digits", ("digits", "")),
        ("digits@3", ("digits", "3")),
        ("digits@prod", ("digits", "prod")),
        ("my.net-2_b@v1.0", ("my.net-2_b", "v1.0")),
    ],
)
def test_a_model_is_a_name_and_perhaps_a_version_or_alias(
    model: str, expected: tuple[str, str]
) -> None:
    assert parse_model(model) == expected


@pytest.mark.parametrize("model", ["", "@3", "digits@", "digits@0", "digits@../x", "a@b@c", "a/b"])
def test_a_model_that_is_no_name_with_a_selector_is_refused(model: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        parse_model(model)


@given(st.integers(1, 10**18 - 1))
def test_a_version_has_exactly_one_spelling(version: int) -> None:
    assert version_of(str(version)) == version
    assert version_of(f"0{version}") is None
    assert version_of(f"+{version}") is None
    assert version_of(f" {version}") is None
