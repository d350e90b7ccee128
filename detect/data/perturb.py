"""Perturbations of test images: base class, registry, and the list of the protocol's robust condition.

A shipped perturbation is a class in `shipped_perturbations.py`, a plug-in's is "path/to/file.py:Class". It is a
function of one image's pixels and nothing else: the same image is changed in the same way in any batch and any
order, whichever class it belongs to. Random ones take their numbers from a digest of the pixels.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from forge.core.errors import InputError, UnknownNameError, quoted
from forge.core.registry import Registry, is_file_reference
from forge.faces.faceset import Images

if TYPE_CHECKING:
    from torch import Tensor

PART_VALUES = 1 << 22  # pixel values changed at a time: 32 MB in float64, whatever the size of images and batch


@dataclass(frozen=True)
class Strength:
    """The number at the end of a perturbation's name.

    Attributes:
        meaning: what it measures, for messages, e.g. "its sigma in pixels".
        low: smallest value.
        high: largest value.
        whole: whether it is a whole number.
        falling: whether larger numbers change less: they name what is left (a quality, a share), not the change.
        default: what a name without a number stands for; None: a number is needed.
    """

    meaning: str
    low: float
    high: float
    whole: bool = False
    falling: bool = False
    default: float | None = None


class Perturbation(ABC):
    """A change of images; a subclass names it and gives `change`.

    Attributes:
        id: its name in settings and tables, before the strength; letters and hyphens.
        title: its name in pages, before the strength.
        summary: what it does, one line; "{}" stands for the strength.
        strength: the number in its name, None for a perturbation without one.
        value: the strength of this instance, None without one.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    strength: ClassVar[Strength | None] = None

    def __init__(self, value: float | None = None) -> None:
        """Take the strength.

        Raises:
            InputError: it is missing, out of range, or not expected.
        """
        if value is None and self.strength is not None:
            value = self.strength.default
        # a strength where none is wanted is as wrong as none where one is
        if (value is None) != (self.strength is None):
            wanted = f"a number, {self.strength.meaning}" if self.strength else "no number"
            raise InputError(f"perturbation {quoted(self.id)} needs {wanted}, behind its name")
        if self.strength is not None and value is not None:
            low, high = self.strength.low, self.strength.high
            if not low <= value <= high or (self.strength.whole and not float(value).is_integer()):
                number = "a whole number" if self.strength.whole else "a number"
                raise InputError(
                    f"perturbation {quoted(f'{self.id}{value:g}')}: {self.strength.meaning} must be {number} from "
                    f"{low:g} to {high:g}"
                )
        self.value = value

    @property
    def name(self) -> str:
        """Name in tables and settings, e.g. "jpeg75"; without the number where it is the default."""
        usual = self.value is None or (self.strength is not None and self.value == self.strength.default)
        return self.id if usual else f"{self.id}{self.value:g}"

    @property
    def display_name(self) -> str:
        """Name in pages, e.g. "JPEG 75"."""
        return self.title if self.value is None else f"{self.title} {self.value:g}"

    @property
    def description(self) -> str:
        """Summary with the strength, one line."""
        return self.summary if self.value is None else self.summary.format(f"{self.value:g}")

    @property
    def missing(self) -> str:
        """Why it cannot be applied with what is installed here, one sentence; "" where it can."""
        return ""

    @abstractmethod
    def change(self, images: Tensor) -> Tensor:
        """Change uint8 images [n, H, W, 3] into a new tensor of the same shape and type, each on its own."""

    def __call__(self, images: Images) -> Images:
        """Change uint8 images [n, H, W, 3] into new ones of the same shape, a part of them at a time."""
        import torch  # takes a second to import, which listing perturbations does not need

        changed = np.empty_like(images)
        # images of a part are changed together; operations work in float64, eight bytes a value
        step = max(1, PART_VALUES // max(1, int(np.prod(images.shape[1:]))))
        for start in range(0, len(images), step):
            part = torch.from_numpy(np.array(images[start : start + step]))  # a copy: torch takes no read-only arrays
            changed[start : start + step] = self.change(part).numpy()
        return changed


class Chain(Perturbation):
    """Several perturbations, one after the other."""

    id, title, summary = "chain", "chain", "several perturbations, one after the other"

    def __init__(self, parts: Sequence[Perturbation]) -> None:
        # no strength of its own: those of the parts are in its name
        super().__init__()
        self.parts = parts

    @property
    def name(self) -> str:
        """Names of the parts, joined by "+"."""
        return "+".join(part.name for part in self.parts)

    @property
    def display_name(self) -> str:
        """Titles of the parts."""
        return ", then ".join(part.display_name for part in self.parts)

    @property
    def description(self) -> str:
        """Summaries of the parts."""
        return "; then ".join(part.description for part in self.parts)

    @property
    def missing(self) -> str:
        """What the first part says that cannot be applied."""
        return next((part.missing for part in self.parts if part.missing), "")

    def change(self, images: Tensor) -> Tensor:
        """Apply the parts in order."""
        for part in self.parts:
            images = part.change(images)
        return images


PERTURBATIONS = Registry(
    "perturbation",
    "detect.perturbations",
    {
        "jpeg": "detect.data.shipped_perturbations:Jpeg",
        "blur": "detect.data.shipped_perturbations:Blur",
        "noise": "detect.data.shipped_perturbations:Noise",
        "crop": "detect.data.shipped_perturbations:Crop",
        "half": "detect.data.shipped_perturbations:Half",
        "quarter": "detect.data.shipped_perturbations:Quarter",
        "brighter": "detect.data.shipped_perturbations:Brighter",
        "darker": "detect.data.shipped_perturbations:Darker",
        "contrast-up": "detect.data.shipped_perturbations:ContrastUp",
        "contrast-down": "detect.data.shipped_perturbations:ContrastDown",
        "grey": "detect.data.shipped_perturbations:Grey",
        "shift": "detect.data.file_formats:Shift",
        "webp": "detect.data.file_formats:WebP",
        "avif": "detect.data.file_formats:Avif",
        "double-jpeg": "detect.data.file_formats:DoubleJpeg",
        "resize-nearest": "detect.data.shipped_perturbations:ResizeNearest",
        "resize-bicubic": "detect.data.shipped_perturbations:ResizeBicubic",
        "resize-lanczos": "detect.data.shipped_perturbations:ResizeLanczos",
        "screenshot": "detect.data.screens:Screenshot",
        "moire": "detect.data.screens:Moire",
        "recapture": "detect.data.screens:Recapture",
        "whatsapp": "detect.data.platforms:WhatsApp",
        "facebook": "detect.data.platforms:Facebook",
        "telegram": "detect.data.platforms:Telegram",
        "equalised": "detect.data.shipped_perturbations:Equalised",
        "wild": "detect.data.wild:Wild",
        "h264-c": "detect.data.h264:H264",
    },
)

# the protocol's list: sigma of noise in grey levels of 255, of blur in pixels, crop in percent of the side
ROBUST = (
    *("jpeg90", "jpeg75", "jpeg50", "jpeg30", "blur1", "blur2", "half", "quarter", "noise2", "noise5", "noise10"),
    *("crop80", "brighter", "darker", "contrast-up", "contrast-down"),
)
EQUALISED = "equalised"
WILD = "wild"
# between camera and detector, each from the weakest change on: not in the protocol's list, for `conditions.robust`
WORLD = (
    *("webp90", "webp50", "webp10", "avif90", "avif50", "avif20", "double-jpeg85", "double-jpeg50", "shift4", "grey"),
    *("resize-nearest75", "resize-nearest50", "resize-bicubic75", "resize-bicubic50"),
    *("resize-lanczos75", "resize-lanczos50", "screenshot2", "screenshot10", "moire4", "moire12"),
    *("recapture0.5", "recapture1", "whatsapp1600", "whatsapp", "whatsapp4000"),
    *("facebook2048", "facebook", "facebook4000", "telegram1280", "telegram", "telegram4000"),
)
VIDEO = ("h264-c23", "h264-c40")  # the rate factors of FaceForensics++
LISTED = (*ROBUST, *WORLD, *VIDEO, EQUALISED, WILD)  # names with usual strengths; others are as good


def perturbation(name: str) -> Perturbation:
    """Make the perturbation of a name.

    Args:
        name: registered, with its strength if it has one ("half", "jpeg60", "blur0.5"); "path/to/file.py:Class"; or
            several joined by "+", of which the first is applied first ("blur1+jpeg75").

    Raises:
        UnknownNameError: no such name; carries the nearest.
        InputError: a strength out of range, or a file's class that is no perturbation.
    """
    if "+" in name:
        return Chain([perturbation(part) for part in name.split("+")])
    if is_file_reference(name):
        return _from_file(name)
    known, numbered = PERTURBATIONS.names(), split_strength(name)
    if name in known:
        made: Perturbation = PERTURBATIONS.load(name)()
    elif numbered and numbered[0] in known:
        # a name in several forms ("jpeg075") loads one strength, and `name` writes it in one form
        made = PERTURBATIONS.load(numbered[0])(numbered[1])
    else:
        installed = [other for other in known if other not in PERTURBATIONS.entries]
        raise UnknownNameError("perturbation", name, [*LISTED, *installed], see="bench list perturbations")
    return made


def split_strength(name: str) -> tuple[str, float] | None:
    """Split "jpeg75" into "jpeg" and 75.0; None for a name without a strength."""
    # registered ids end in no digit, so that the number at the end is the strength
    parts = re.fullmatch(r"([a-z0-9-]*[a-z-])(\d+(?:\.\d+)?)", name)
    return (parts[1], float(parts[2])) if parts else None


def by_strength(names: Sequence[str]) -> list[list[str]]:
    """Group perturbations that differ in strength only, each group from the weakest change to the strongest.

    Args:
        names: of perturbations; those without a strength are left out, except where a name without a number stands for
            one. One of a package that is not installed here is taken to change more with larger numbers.
    """
    members: dict[str, list[tuple[float, str]]] = {}
    known = PERTURBATIONS.names()
    for name in names:
        default = _strength(name).default if name in known else None
        if parts := split_strength(name) if default is None else (name, default):
            members.setdefault(parts[0], []).append((parts[1], name))
    return [
        [name for _, name in sorted(group, reverse=identifier in known and _strength(identifier).falling)]
        for identifier, group in members.items()
    ]


def random_of(image: NDArray[np.uint8]) -> np.random.Generator:
    """Return random numbers that follow from the pixels: neither class nor place in a batch decides what is drawn."""
    return np.random.default_rng(int.from_bytes(blake2b(image.tobytes(), digest_size=8).digest(), "little"))


def _strength(identifier: str) -> Strength:
    strength: Strength | None = PERTURBATIONS.load(identifier).strength
    return strength or Strength("", 0, 0)


def _from_file(reference: str) -> Perturbation:
    loaded = PERTURBATIONS.load(reference)
    if not (isinstance(loaded, type) and issubclass(loaded, Perturbation)):
        raise InputError(
            f"perturbation {quoted(reference)} is no perturbation: it must be a subclass of "
            "detect.data.perturb.Perturbation"
        )
    lacking = [field for field in ("id", "title", "summary") if not getattr(loaded, field, "")]
    if lacking or loaded.__abstractmethods__:
        missing = ", ".join([*lacking, *sorted(loaded.__abstractmethods__)])
        raise InputError(f"perturbation {quoted(reference)} does not define {missing}; add what is missing")
    # the id becomes part of names in tables: "none" is the name of clean images, "+" joins parts
    if not re.fullmatch(r"[a-z]+(-[a-z]+)*", loaded.id) or loaded.id in PERTURBATIONS.names() or loaded.id == "none":
        raise InputError(
            f"perturbation {quoted(reference)} has the id {quoted(loaded.id)}, which is taken or holds more than "
            "lower-case letters and hyphens; choose another"
        )
    return loaded()
