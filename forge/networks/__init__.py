"""Generator architectures by name; one file each: generator, discriminator, settings."""

from forge.registry import Registry

GENERATORS = Registry("generator", "forge.generators", {"dcgan": "forge.networks.dcgan:DCGAN"})
