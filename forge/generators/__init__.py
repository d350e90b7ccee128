"""Generator architectures by name; one file each: networks and settings."""

from forge.core.registry import Registry

GENERATORS = Registry(
    "generator",
    "forge.generators",
    {
        "cgan": "forge.generators.cgan:CGAN",
        "dcgan": "forge.generators.dcgan:DCGAN",
        "ddpm": "forge.generators.ddpm:DDPM",
        "flow": "forge.generators.flow:Flow",
        "gan": "forge.generators.gan:GAN",
        "self-blended": "forge.blending.blending:Blending",
        "stylegan-lite": "forge.generators.stylegan_lite:StyleGANLite",
    },
)
