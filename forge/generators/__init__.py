"""Generator architectures by name; one file each: generator, discriminator, settings."""

from forge.core.registry import Registry

GENERATORS = Registry(
    "generator",
    "forge.generators",
    {
        "cgan": "forge.generators.cgan:CGAN",
        "dcgan": "forge.generators.dcgan:DCGAN",
        "gan": "forge.generators.gan:GAN",
        "self-blended": "forge.blending.blending:Blending",
        "stylegan-lite": "forge.generators.stylegan_lite:StyleGANLite",
    },
)
