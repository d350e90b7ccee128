"""Laundering: an autoencoder re-encodes images, which replaces the traces of their generator by its own."""

from __future__ import annotations

from typing import ClassVar

from detect.attacks.base import Access, Attack, AttackSettings, Budget, Knowledge
from detect.attacks.target import Target
from forge.core.errors import InputError
from forge.faces.faceset import Images
from forge.generators.reconstruct import autoencoder_of, reconstruct


class Launder(Attack[AttackSettings]):
    """The images as an autoencoder gives them back, which was trained on real images alone."""

    citation = (
        "Neves, Tolosana, Vera-Rodriguez, Lopes, Proença, Fierrez: GANprintR: Improved Fakes and Evaluation of the "
        "State of the Art in Face Manipulation Detection, IEEE JSTSP 2020, arXiv 1911.05351"
    )
    access: ClassVar[Access] = "nothing"
    budget: ClassVar[Budget] = "none"
    needs = "autoencoder"

    def learn(self, knowledge: Knowledge) -> None:
        """Take the autoencoder.

        Raises:
            InputError: there is none, or the generator is no autoencoder.
        """
        if knowledge.autoencoder is None:
            raise InputError("launder needs a trained autoencoder")
        self._network = autoencoder_of(knowledge.autoencoder)

    def changed(self, images: Images, target: Target, epsilon: float, seed: int) -> Images:
        """Return re-encoded images."""
        return reconstruct(self._network.to(target.device), images)
