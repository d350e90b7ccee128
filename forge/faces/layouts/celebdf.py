"""Celeb-DF, versions 1 and 2: real videos of celebrities and of YouTube, and swapped faces between celebrities."""

from __future__ import annotations

from forge.core.errors import InputError, quoted
from forge.faces.layouts.base import Entry, Label, Layout, TestSet, without_extracted
from forge.faces.layouts.tree import Tree
from forge.faces.sources.base import printable

_FOLDERS: dict[str, Label] = {"celeb-real": "real", "youtube-real": "real", "celeb-synthesis": "forged"}
_LIST = "List_of_testing_videos.txt"
_LABELS = {"1": "real", "0": "forged"}  # of the list


class CelebDF(Layout):
    """Celeb-DF (Li et al., CVPR 2020); videos, or a folder of frames for each.

    The person is the target of a swap, `id0` of `id0_0000` and of `id0_id1_0000`; of a YouTube video it is the clip.
    """

    title = "Celeb-DF"
    tree = "Celeb-real/id0_0000.mp4, Celeb-synthesis/id0_id1_0000.mp4, YouTube-real/00000.mp4"

    @classmethod
    def recognises(cls, tree: Tree) -> bool:
        """Return whether a folder is called `Celeb-real` or `Celeb-synthesis`."""
        return any(folder.name.lower() in ("celeb-real", "celeb-synthesis") for folder in tree)

    @classmethod
    def read(cls, tree: Tree) -> TestSet:
        """Return the videos or frames; those of the list are the test, the others for training.

        Raises:
            InputError: a line of the list is not "1 FOLDER/VIDEO", or its label contradicts the folder.
        """
        listed = _listed(tree)
        entries, seen = [], set()
        for folder in tree:
            at = next((i for i, part in enumerate(folder.parts) if part.lower() in _FOLDERS), None)
            if at is None:
                continue
            side, rest = folder.parts[at], [part for part in folder.parts[at + 1 :] if part not in ("videos", "frames")]
            for name in folder.files:
                clip = rest[0] if rest else name[: name.rfind(".")]
                key = f"{side}/{clip}".lower()
                seen.add(key)
                person = clip.split("_")[0]
                entries.append(
                    Entry(
                        folder.file(name),
                        _FOLDERS[side.lower()],
                        identity=person if person.startswith("id") else None,
                        video=f"{side} {clip}",
                        split=("test" if key in listed else "train") if listed else None,
                        generator="Celeb-synthesis" if _FOLDERS[side.lower()] == "forged" else None,
                    )
                )
        entries, notes = without_extracted(entries)
        if not listed:
            notes.append(f"no {_LIST} is there: all videos are one split")
        missing = [file for key, file in listed.items() if key not in seen]
        return TestSet("celebdf", tree.root, entries, missing=missing, notes=notes)


def _listed(tree: Tree) -> dict[str, str]:
    """Return "folder/clip" in lower case -> path, of the videos in the list of the test."""
    listed = {}
    for folder in tree:
        if _LIST not in folder.lists:
            continue
        file = folder.file(_LIST)
        for number, line in enumerate(tree.text(file).splitlines(), start=1):
            if not line.strip():
                continue
            label, _, path = line.strip().partition(" ")
            path = path.strip().replace("\\", "/")
            side, _, video = path.rpartition("/")
            expected = _FOLDERS.get(side.lower())
            where = f"{printable(str(tree.root / file))}, line {number}"
            if label not in _LABELS or expected is None:
                raise InputError(f"{where}: {quoted(line)} must look like '1 YouTube-real/00170.mp4' (1: real)")
            if _LABELS[label] != expected:
                raise InputError(f"{where}: {quoted(line)} calls a video of {side} {_LABELS[label]}; correct the label")
            listed[f"{side}/{video.rpartition('.')[0] or video}".lower()] = path
    return listed
