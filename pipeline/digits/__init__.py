"""Real handwritten digits, and scenes made of them whose truth is known."""

from __future__ import annotations

from pipeline.digits.data import LABELS, Split, load_digits
from pipeline.digits.scene import Night, Scene

__all__ = ["LABELS", "Night", "Scene", "Split", "load_digits"]
