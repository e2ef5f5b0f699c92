"""What all sections of the settings have in common."""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings: frozen, and unknown keys are refused."""

    # An error must not repeat what was given: it may be a password.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )


def one_or_many(value: object) -> object:
    """One text may stand alone; the environment takes several as a JSON array."""
    if not isinstance(value, str):
        return value
    if not value.startswith("["):
        return (value,)
    try:
        return json.loads(value)
    except json.JSONDecodeError as cause:
        raise ValueError("expected one text, or a JSON array of them") from cause
