"""Identities: the parameters of a person, drawn once from (seed, person)."""

import bisect
import itertools
from dataclasses import dataclass

import numpy as np

HAIR_COLOURS = {
    "black": (0.016, 0.013, 0.012),
    "brown": (0.075, 0.040, 0.022),
    "blond": (0.40, 0.265, 0.13),
    "red": (0.24, 0.080, 0.030),
    "grey": (0.34, 0.335, 0.33),
}
# dark brown, brown, hazel, blue, green
IRIS_COLOURS = ((0.055, 0.028, 0.014), (0.11, 0.06, 0.026), (0.15, 0.12, 0.05), (0.10, 0.17, 0.26), (0.13, 0.18, 0.13))
STYLES_MALE = ("bald", "ring", "buzz", "short", "parted", "quiff", "curly", "mane")
STYLES_FEMALE = ("short", "parted", "curly", "bob", "fringe", "long", "wavy", "updo", "bun")


@dataclass(frozen=True)
class Person:
    """Identity parameters. Lengths are in head units (11.5 cm); other traits are 0..1 or relative (about 1)."""

    gender: str
    years: float
    melanin: float  # 0 very light .. 1 very dark
    redness: float
    texture_seed: int  # where this person's skin and hair textures are cut from the tiles
    # skull and face
    width: float
    depth: float
    jaw: float
    chin_width: float
    chin_length: float
    cheek: float
    forehead: float
    neck: float
    ear: float
    flesh: float
    # features
    brow_ridge: float
    brow_height: float
    brow_arch: float
    brow_thickness: float
    eye_distance: float
    eye_height: float
    eye_size: float
    eye_open: float
    eye_tilt: float
    crease: float
    iris: tuple[float, float, float]
    liner: float
    nose_length: float
    nose_width: float
    nose_height: float
    nose_tip: float
    nose_hump: float
    mouth_width: float
    mouth_height: float
    lip_upper: float
    lip_lower: float
    lipstick: float
    freckles: float
    # hair
    style: str
    hair_colour: str
    hair_rgb: tuple[float, float, float]
    hair_volume: float
    hairline: float
    parting: float
    waviness: float
    beard: str
    # glasses this person owns
    glasses: str
    frame_shape: float  # superellipse exponent: 2 round, 5 square
    frame_size: tuple[float, float]
    frame_thickness: float
    frame_rgb: tuple[float, float, float]
    frame_rimless: float

    @property
    def age_group(self) -> str:
        """Young below 35, middle below 55, old from 55 years."""
        return "young" if self.years < 35 else "middle" if self.years < 55 else "old"

    @property
    def ears_covered(self) -> bool:
        """Whether the hair lies over the ears, which then must not bulge it."""
        return self.style in ("mane", "bob", "fringe", "long", "wavy")

    @property
    def age(self) -> float:
        """Age of the skin: 0 up to 30 years, 1 at 75."""
        return float(np.clip((self.years - 30) / 45, 0, 1))

    @property
    def skin(self) -> str:
        """light, medium or dark by melanin."""
        return "light" if self.melanin < 0.23 else "medium" if self.melanin < 0.57 else "dark"


def _choice(rng: np.random.Generator, weights: dict[str, float]) -> str:
    ends = list(itertools.accumulate(weights.values()))
    return list(weights)[bisect.bisect_right(ends, rng.random() * ends[-1], hi=len(ends) - 1)]


def _hair_colour(rng: np.random.Generator, melanin: float, years: float) -> str:
    """Dark skin goes mostly with dark hair; grey comes with age."""
    if rng.random() < np.clip((years - 42) / 30, 0, 0.9):
        return "grey"
    light = max(0.0, 1 - 2.2 * melanin)
    return _choice(
        rng, {"black": 0.25 + 1.5 * melanin, "brown": 0.7, "blond": 0.03 + 0.65 * light, "red": 0.03 + 0.3 * light}
    )


def _style(rng: np.random.Generator, male: bool, years: float, melanin: float) -> str:
    old = float(np.clip((years - 40) / 30, 0, 1))
    if male:
        weights = (0.07 + 0.2 * old, 0.02 + 0.3 * old, 0.16, 0.3, 0.22, 0.18 * (1 - old), 0.10 + 0.12 * melanin, 0.05)
        return _choice(rng, dict(zip(STYLES_MALE, weights, strict=True)))
    weights_f = (0.05 + 0.15 * old, 0.07, 0.08 + 0.15 * melanin, 0.15, 0.14 * (1 - old), 0.22, 0.18, 0.1, 0.08)
    return _choice(rng, dict(zip(STYLES_FEMALE, weights_f, strict=True)))


def draw_person(rng: np.random.Generator) -> Person:
    """Draw an identity.

    Args:
        rng: generator keyed by (seed, person) alone.

    Returns:
        The person; two persons differ in dozens of independent parameters.
    """

    def around(mean: float, spread: float) -> float:
        return mean + spread * max(-2.2, min(2.2, rng.standard_normal()))  # within 2.2 deviations: no impossible faces

    male = bool(rng.random() < 0.5)
    # shifts means only, so that the ranges of both overlap
    sex = 1.0 if male else 0.0
    years = float(
        (rng.uniform(18, 35), rng.uniform(35, 55), rng.uniform(55, 78))[int(rng.choice(3, p=(0.4, 0.34, 0.26)))]
    )
    # thirds of light, medium and dark skin, with gaps in which the thresholds of `skin` lie
    melanin = float((rng.uniform(0, 0.2), rng.uniform(0.26, 0.52), rng.uniform(0.62, 1.0))[int(rng.integers(3))])
    flesh = around(0, 1)
    style = _style(rng, male, years, melanin)
    colour = _hair_colour(rng, melanin, years)
    # the colour's brightness, then its channels
    shade = np.asarray(HAIR_COLOURS[colour]) * np.exp(rng.normal(0, 0.22)) * np.exp(rng.normal(0, 0.06, 3))
    beard = _choice(rng, {"none": 0.42, "stubble": 0.22, "moustache": 0.12, "full": 0.24}) if male else "none"
    light_eyes = rng.random() < max(0.05, 0.75 - 2 * melanin)
    iris = np.asarray(IRIS_COLOURS[int(rng.integers(2, 5) if light_eyes else rng.integers(0, 2))])
    dark_frame = rng.random() < 0.65
    frame = rng.uniform(0.01, 0.05, 3) if dark_frame else rng.uniform(0.03, 0.35, 3)
    return Person(
        gender="male" if male else "female",
        years=years,
        melanin=melanin,
        redness=around(0.5, 0.22),
        texture_seed=int(rng.integers(2**31)),
        width=around(0.678 + 0.015 * sex, 0.028) + 0.012 * flesh,
        depth=around(0.79, 0.025),
        jaw=around(0.93 + 0.07 * sex, 0.055) + 0.05 * max(flesh, 0),
        chin_width=around(0.92 + 0.12 * sex, 0.12),
        chin_length=around(0.0 + 0.02 * sex, 0.045),
        cheek=around(1.0, 0.35),
        forehead=around(1.0, 0.05),
        neck=around(0.40 + 0.07 * sex, 0.022) + 0.025 * flesh,
        ear=around(1.0, 0.2),
        flesh=flesh,
        brow_ridge=max(0.1, around(0.45 + 0.65 * sex, 0.3)),
        brow_height=around(0.012 - 0.018 * sex, 0.018),
        brow_arch=around(0.045 - 0.015 * sex, 0.02),
        brow_thickness=max(0.5, around(0.82 + 0.35 * sex, 0.22)),
        eye_distance=around(0.285, 0.015),
        eye_height=around(-0.155, 0.014),
        eye_size=around(0.150 - 0.004 * sex, 0.009),
        eye_open=max(0.6, around(1.02 - 0.08 * sex, 0.17)),
        eye_tilt=around(0.06, 0.07),
        crease=float(np.clip(around(0.6, 0.4), 0, 1)),
        iris=tuple(float(c) for c in iris * np.exp(rng.normal(0, 0.2))),  # type: ignore[arg-type]  # three channels
        liner=0.0 if male else float(rng.choice((0.15, 0.5, 1.0))),
        nose_length=around(1.0, 0.07),
        nose_width=max(0.7, around(0.97 + 0.05 * sex, 0.12) + 0.22 * max(0.0, melanin - 0.3)),
        nose_height=max(0.6, around(0.98 + 0.08 * sex, 0.14)),
        nose_tip=around(1.0, 0.25),
        nose_hump=around(0.1 * sex, 0.3),
        mouth_width=around(0.232 + 0.008 * sex, 0.018),
        mouth_height=around(0.0, 0.022),
        lip_upper=max(0.4, around(1.0 - 0.18 * sex, 0.22) + 0.3 * max(0.0, melanin - 0.4)),
        lip_lower=max(0.45, around(1.0 - 0.12 * sex, 0.2) + 0.3 * max(0.0, melanin - 0.4)),
        lipstick=0.0 if male else float(rng.choice((0.0, 0.35, 1.0), p=(0.5, 0.3, 0.2))),
        freckles=float(rng.random() < 0.25 * (1 - melanin)) * rng.uniform(0.4, 1.0),
        style=style,
        hair_colour="none" if style == "bald" else colour,
        hair_rgb=tuple(float(c) for c in shade),  # type: ignore[arg-type]  # three channels
        hair_volume=max(0.5, around(1.0, 0.3)),
        hairline=around(0.0, 0.03),
        parting=float(rng.choice((-1, 1)) * rng.uniform(0.05, 0.5)),
        waviness=float(rng.uniform(0, 1)),
        beard=beard,
        glasses=_choice(rng, {"none": 0.66, "clear": 0.26, "sun": 0.08}),
        frame_shape=float(rng.uniform(2, 5)),
        frame_size=(around(0.225, 0.018), around(0.165, 0.026)),
        frame_thickness=float(rng.uniform(0.012, 0.034)),
        frame_rgb=tuple(float(c) for c in frame),  # type: ignore[arg-type]  # three channels
        frame_rimless=float(rng.random() < 0.12),
    )
