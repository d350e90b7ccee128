"""Generator architectures by name; one file each: generator, discriminator, settings."""

from forge.registry import Registry

GENERATORS = Registry(
    "generator",
    "forge.generators",
    {
        "cgan": "forge.networks.cgan:CGAN",
        "dcgan": "forge.networks.dcgan:DCGAN",
        "gan": "forge.networks.gan:GAN",
        "self-blended": "forge.blending:Blending",
        "stylegan-lite": "forge.networks.stylegan_lite:StyleGANLite",
    },
)
