"""Base of all settings, and types of their fields."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Settings(BaseModel):
    """Frozen, since settings are keys; unknown names are refused, since a misspelt one would be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Seed = Annotated[int, Field(ge=0, lt=2**32)]


# One rule for flags ("a,b"), YAML (a list or a text) and Python (either).
def _names(value: object) -> object:
    """Split "a, b" into names; a list stays one."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple):
        return value
    names = tuple(name.strip() if isinstance(name, str) else name for name in value)
    names = tuple(name for name in names if name != "")
    if value and not names:  # "," alone; an empty default is not a list that names nothing
        raise ValueError("it names nothing")
    return names


# runs before validation of the tuple, since it receives text
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
