"""Folder names that say a class, and folders that hold the other class than they are given as."""

from pathlib import Path

import pytest

from forge.core.errors import InputError
from forge.faces.sources.classes import class_of, refuse_mixed


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *((name, "forged") for name in ("fake", "1_fake", "ai", "AI", "forged", "manipulated_sequences", "synthesis")),
        *((name, "forged") for name in ("Celeb-synthesis", "training_fake", "Deepfakes", "train_ai", "generated")),
        *((name, "real") for name in ("real", "0_real", "nature", "original_sequences", "Celeb-real", "training_real")),
        *((name, None) for name in ("Ai_Sugiyama", "holiday", "car", "realm", "fakery", "real_vs_fake", "train", "")),
    ],
)
def test_the_class_that_a_name_says(name, said):
    assert class_of(name) == said


@pytest.mark.parametrize(
    ("real", "forged"),
    [
        ("real", "fake"),
        ("0_real", "1_fake"),
        ("nature", "ai"),
        ("train/real", "train/fake"),
        ("car/0_real", "car/1_fake"),
        ("original_sequences/youtube", "manipulated_sequences/Deepfakes"),
    ],
)
def test_a_folder_with_both_classes_is_refused_as_either(real, forged):
    files = [f"{folder}/{i}.png" for folder in (real, forged) for i in range(3)]
    tops = [next(p for p in (*reversed(Path(f).parents), Path(f)) if class_of(p.name)) for f in (real, forged)]
    shown = [Path("set") / top for top in tops]
    with pytest.raises(InputError) as refused:
        refuse_mixed(Path("set"), files, given_as="real")
    message = str(refused.value)
    assert all(str(path) in message for path in shown) and f"--external NAME={shown[0]},{shown[1]}" in message
    assert f"name {shown[0]} alone" in message
    with pytest.raises(InputError, match="name the folder of the forgeries alone") as refused:
        refuse_mixed(Path("set"), files, given_as="forged")
    assert all(str(path) in str(refused.value) for path in shown)


def test_a_forged_folder_without_partner_is_refused_among_real_faces():
    with pytest.raises(InputError, match="holds set/fake, whose name says forged; move it elsewhere"):
        refuse_mixed(Path("set"), ["a.png", "fake/b.png"], given_as="real")
    refuse_mixed(Path("set"), ["manipulated/Deepfakes/b.png", "fake/c.png"], given_as="forged")


def test_people_and_the_folder_itself_say_nothing():
    refuse_mixed(Path("1_fake"), ["Ai_Sugiyama/a.png", "real/b.png", "c.png"], given_as="real")
