"""Costs of an attack on a detector, as results.json holds them."""

from __future__ import annotations

from pydantic import Field

from benchmarks.evaluation.record import Record


class AttackFacts(Record):
    """One attack on one fitted detector at one budget, measured on the images themselves."""

    detector: str = Field(description="name of the attacked detector")
    trained_on: str = Field(description="its training, as in the cells")
    tested_on: str = Field(description="generator of the attacked forgeries; empty: real images were attacked")
    seed: int = Field(description="of the run")
    attack: str = Field(description='attack and budget, as the perturbation of the cells, e.g. "attack:pgd:4"')
    access: str = Field(description="what it asks of the detector: gradients, scores or nothing")
    images: int = Field(description="images that were attacked")
    psnr: float | None = Field(description="of all changes together, dB; null: nothing was changed")
    largest: int = Field(description="largest change of a value, grey levels of 255")
    changed: float = Field(description="share of images with a change")
    scored: float = Field(description="scores asked of the detector per image")
    differentiated: float = Field(description="gradients asked of it per image")
    flat: float = Field(description="share of these gradients that were zero everywhere")
