"""What the decisions say of the tests."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_each_test_that_a_decision_names_is_there() -> None:
    tests = "\n".join(each.read_text() for each in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))
    named = {
        name
        for page in (ROOT / "docs" / "decisions").glob("*.md")
        for name in re.findall(r"`(test_\w+)`", page.read_text())
    }
    assert named
    assert named <= there, sorted(named - there)
