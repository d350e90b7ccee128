"""Base of all blocks of results.json."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen block; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
