"""Shading: the colour that a point of the head sends to the camera."""

from dataclasses import dataclass

import numpy as np

from forge.rendering import surface
from forge.rendering.canvas import Canvas, colour
from forge.rendering.noise import Array
from forge.rendering.trace import Hits

# Absorption of melanin and haemoglobin per unit of pigment in linear R, G, B (the two-pigment skin of Tsumura et al.
# 1999: the logarithm of the reflectance is linear in the amounts); fitted by eye to skin swatches.
MELANIN = (1.25, 1.95, 2.55)
BLOOD = (0.16, 0.82, 0.72)
DERMIS = (0.78, 0.66, 0.565)
# Light enters the skin and leaves a little further on, red farthest: each channel wraps around the terminator.
WRAP = (0.34, 0.17, 0.12)


@dataclass(frozen=True)
class Light:
    """The light of one picture, in camera coordinates and linear colours.

    Attributes:
        key: unit direction to the key light, [3].
        key_rgb, rim_rgb: colours of the key light and of one from behind.
        rim: unit direction to the rim light, [3].
        sky_rgb, ground_rgb: ambient light from above and below.
        softness: penumbra of the key light, see `trace`.
    """

    key: Array
    key_rgb: Array
    rim: Array
    rim_rgb: Array
    sky_rgb: Array
    ground_rgb: Array
    softness: float


def skin_colour(melanin: Array, blood: Array) -> Array:
    """Linear RGB reflectance [3, ...] of skin: dermis · exp(-melanin·σm - blood·σb), the law of Lambert and Beer."""
    shape = (3,) + (1,) * melanin.ndim
    m, b, d = (np.asarray(v, np.float32).reshape(shape) for v in (MELANIN, BLOOD, DERMIS))
    result: Array = d * np.exp(-(m * melanin) - b * blood)
    return result  # log reflectance is linear in both pigments


def maps(canvas: Canvas, at: surface.Box = surface.EVERYWHERE) -> Array:
    """Return all that shading looks up in a rectangle: normals, colours, gloss, fibre and cavity as [9, rows, cols]."""
    normal = surface.normals(canvas.radius, at)
    stack = np.empty((9, *normal.shape[1:]), np.float32)
    stack[:3] = normal
    skin = skin_colour(canvas.melanin[at], canvas.blood[at])
    skin += (canvas.cover[:, at[0], at[1]] - skin) * canvas.opacity[at]  # opaque layers over skin
    stack[3:6] = skin
    stack[6], stack[7], stack[8] = canvas.gloss[at], canvas.fibre[at], canvas.cavity[at]
    return stack


def cosine(direction: Array, normal: Array) -> Array:
    """Dot products of a direction [3] with [3, ...]; spelt out, as BLAS may round differently with its threads."""
    result: Array = direction[0] * normal[0] + direction[1] * normal[1] + direction[2] * normal[2]
    return result


def diffuse(n_key: Array, n_rim: Array, up: Array, shadow: Array, cavity: Array, light: Light) -> Array:
    """Return light that a matt surface receives, [3, K], from the cosines to the lights and to the sky."""
    result = np.empty((3, n_key.shape[0]), np.float32)
    hemisphere = 0.5 + 0.5 * up  # 1 facing the sky, 0 facing the ground
    rim = np.maximum(n_rim, 0)
    for c, wrap in enumerate(WRAP):
        # wrapped Lambert: (cos + w) / (1 + w), 0 only beyond the terminator
        lit = np.maximum((n_key + wrap) * np.float32(1 / (1 + wrap)), 0)
        # blood-red light also creeps into shadows
        seen = shadow + (1 - shadow) * np.float32(0.26 + 0.30 * wrap)
        result[c] = light.key_rgb[c] * lit * lit**0.15 * seen * (0.55 + 0.45 * cavity) + light.rim_rgb[c] * rim
        ambient = light.ground_rgb[c] + (light.sky_rgb[c] - light.ground_rgb[c]) * hemisphere
        # ambient light fades in cavities, red less, as it scatters through skin
        result[c] += ambient * (cavity if c else np.sqrt(cavity) * (0.5 + 0.5 * cavity))
    return result


def shade(stack: Array, hits: Hits, light: Light, turn: Array) -> Array:
    """Radiance of the hit points.

    Args:
        stack: from `maps`.
        hits: from `trace`.
        light: the picture's light.
        turn: rotation from head to camera, [3, 3].

    Returns:
        Linear RGB, [3, K].
    """
    looked = surface.sample(stack, hits.grid)
    normal, albedo, (gloss, fibre, cavity) = looked[:3], looked[3:6], looked[6:]
    normal *= 1 / np.sqrt(np.einsum("ij,ij->j", normal, normal) + 1e-9)  # interpolated normals are shorter than 1
    # into head coordinates
    key, rim, up = (turn.T @ v for v in (light.key, light.rim, np.array((0, 1, 0), np.float32)))
    n_key = cosine(key, normal)
    result = albedo * diffuse(n_key, cosine(rim, normal), cosine(up, normal), hits.shadow, cavity, light)
    # highlights: Blinn-Phong on skin, Kajiya-Kay (1989) along strands that run down the head
    half = hits.to_eye + key[:, None]  # Blinn's half vector
    half *= 1 / np.sqrt(np.einsum("ij,ij->j", half, half) + 1e-9)
    n_half = np.maximum(np.einsum("ij,ij->j", normal, half), 0)
    facing = np.clip(np.einsum("ij,ij->j", normal, hits.to_eye), 0, 1)
    # Schlick's (1 - cos)^5, with 0.40 in place of 1 - f0
    fresnel = 0.035 + 0.40 * np.square(np.square(1 - facing)) * (1 - facing)
    # powers 8 and 24 by squaring: a wide lobe and a narrow one
    p8 = np.square(np.square(np.square(n_half)))
    p24 = p8 * p8 * p8
    skin_spec = (0.35 * p8 + 1.15 * p24) * fresnel * 5.5 * np.maximum(gloss, 0)
    # a strand's direction: straight down, made tangent to the surface
    # cosine between half vector and strand, [K]
    t_half = (half[1] - normal[1] * n_half) / np.sqrt(np.maximum(1 - normal[1] ** 2, 0.05))
    # sin^2 of the angle to the strand, shifted by 0.12, to the 8th power
    ring = np.square(np.square(np.square(np.clip(1 - np.square(t_half - 0.12), 0, 1))))
    ring = ring * ring * n_half
    glint = np.clip(n_key * 1.5 + 0.2, 0, 1) * hits.shadow
    spec = skin_spec + fibre * (0.09 * ring * gloss - skin_spec)
    tint = albedo / (albedo.max(axis=0) + 1e-3)
    spec_rgb = colour(light.key_rgb)[:, 0] * (spec * glint)
    result += spec_rgb * (1 - fibre * (1 - (0.4 + 0.6 * tint)))  # hair tints 60 % of its highlight, skin none
    grazing = fresnel * (1 - 0.6 * fibre) * cavity * np.float32(0.55)
    result += colour(light.sky_rgb)[:, 0] * grazing
    return result
