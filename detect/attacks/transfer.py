"""Adversarial images of a surrogate, shown to a detector that the attacker knows nothing of."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from detect.attacks.base import Access, Attack, Knowledge, check_target
from detect.attacks.pgd import PGDSettings, ProjectedGradient
from detect.attacks.target import Target
from forge.core.errors import InputError
from forge.faces.faceset import Images


class TransferSettings(PGDSettings):
    """Settings of the transfer attack: the surrogate, and the descent on it."""

    surrogate: str = Field("npr", description="registered detector that is fitted on the attacker's images")


class Transfer(Attack[TransferSettings]):
    """Projected gradient descent on a surrogate that was fitted on split `forge` alone."""

    citation = (
        "Papernot, McDaniel, Goodfellow, Jha, Celik, Swami: Practical Black-Box Attacks against Machine Learning, "
        "AsiaCCS 2017, arXiv 1602.02697"
    )
    access: ClassVar[Access] = "nothing"
    needs = "surrogate"

    def learn(self, knowledge: Knowledge) -> None:
        """Take the surrogate.

        Raises:
            InputError: there is none.
        """
        if knowledge.surrogate is None:
            raise InputError("transfer needs a fitted surrogate")
        self._surrogate = knowledge.surrogate.detector

    def changed(self, images: Images, target: Target, epsilon: float, seed: int) -> Images:
        """Return images that the surrogate takes for the other class."""
        surrogate = Target(self._surrogate, target.compute, target.aim)
        inner = ProjectedGradient(self.settings)
        check_target(inner, surrogate, "transfer")
        return inner.changed(images, surrogate, epsilon, seed)
