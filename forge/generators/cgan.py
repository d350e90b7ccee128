"""Conditional DCGAN: conditional batch norm in the generator, a projection discriminator."""

from __future__ import annotations

from forge.generators.dcgan import DCGAN


class CGAN(DCGAN):
    """DCGAN on labels: class-conditional batch norm (Dumoulin et al. 2017), projection (Miyato and Koyama 2018)."""

    family = "conv-gan"  # its twin dcgan is in it: neither is unseen to a detector that was trained on the other
    citation = (
        "Mirza, Osindero: Conditional Generative Adversarial Nets, arXiv 1411.1784; "
        "Miyato, Koyama: cGANs with Projection Discriminator, ICLR 2018, arXiv 1802.05637"
    )
    conditional = "required"
