"""Generator architectures by name; one file each: networks and settings."""

from forge.core.registry import Registry

GENERATORS = Registry(
    "generator",
    "forge.generators",
    {
        "cgan": "forge.generators.cgan:CGAN",
        "copy-move": "forge.tampering.copy_move:CopyMove",
        "cyclegan": "forge.generators.translation.cyclegan:CycleGAN",
        "dcgan": "forge.generators.dcgan:DCGAN",
        "ddpm": "forge.generators.ddpm:DDPM",
        "edit:dcgan": "forge.tampering.edit:LatentEdit",
        "edit:stylegan-lite": "forge.tampering.edit:LatentEdit",
        "fastcut": "forge.generators.translation.fastcut:FastCUT",
        "flow": "forge.generators.flow:Flow",
        "gan": "forge.generators.gan:GAN",
        "inpaint": "forge.tampering.inpaint:Inpaint",
        "inversion:dcgan": "forge.tampering.edit:Inversion",
        "inversion:stylegan-lite": "forge.tampering.edit:Inversion",
        "pix2pix:colour": "forge.generators.translation.colour:Colour",
        "pix2pix:edges": "forge.generators.translation.edges:Edges",
        "pix2pix:inpainting": "forge.generators.translation.inpainting:Inpainting",
        "pix2pix:super-resolution": "forge.generators.translation.super_resolution:SuperResolution",
        "retouch": "forge.tampering.retouch:Retouch",
        "self-blended": "forge.tampering.self_blended:SelfBlending",
        "splice": "forge.tampering.splice:Splice",
        "stylegan-lite": "forge.generators.stylegan_lite:StyleGANLite",
        "vae": "forge.generators.vae:VAE",
    },
)
