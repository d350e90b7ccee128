"""Detectors known by their scores alone: what a file may say, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from test_leaderboard import suite

from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.evaluation.score_file import read_submission
from benchmarks.evaluation.submission import image_name, rows_of, suite_images
from forge.core.errors import InputError

SCORES = suite({"good": 0.9, "bad": 0.6}, seeds=(0, 1), n=60)
IMAGES = suite_images(SCORES)


def filled(skill=1.0):
    """One score an image: of the class, and noise."""
    once = IMAGES.drop_duplicates("image")
    return pd.DataFrame(
        {"image": once["image"], "score": skill * once["label"] + np.random.default_rng(0).normal(size=len(once))}
    )


def written(tmp_path, table, **options):
    path = tmp_path / "theirs.csv"
    table.to_csv(path, index=False, **options)
    return path


def test_a_real_image_has_one_name_in_all_seeds_and_a_forged_one_another_in_each():
    assert image_name("faces", "", 0, "a") == image_name("faces", "", 1, "a")
    assert image_name("gan", "gan", 0, "a") != image_name("gan", "gan", 1, "a")
    assert len(IMAGES) == 2 * 4 * 60 and IMAGES["image"].nunique() == 60 + 2 * 3 * 60
    assert not any(word in name for name in IMAGES["image"] for word in ("gan", "face", "real"))


def test_scores_become_rows_that_are_ranked(tmp_path):
    rows = rows_of(read_submission(written(tmp_path, filled(2.0))), IMAGES, "theirs")
    assert len(rows) == len(IMAGES) and set(rows["trained_on"]) == {"elsewhere"} and set(rows["seed"]) == {0, 1}
    board = leaderboard(pd.concat([SCORES, rows]))
    line = next(line for line in board.lines if line.detector == "theirs")
    assert line.rank is not None and line.columns["unseen"].cells == 6
    assert line.columns["unseen"].value == pytest.approx(0.92, abs=0.05)


def test_names_of_files_are_as_good_and_the_order_does_not_matter(tmp_path):
    table = filled().sample(frac=1, random_state=0).rename(columns={"image": "file"})
    table["file"] = "some/where/" + table["file"] + ".png"
    rows = rows_of(read_submission(written(tmp_path, table)), IMAGES, "theirs")
    expected = rows_of(read_submission(written(tmp_path, filled())), IMAGES, "theirs")
    pd.testing.assert_frame_equal(rows, expected)
    table.to_parquet(tmp_path / "theirs.parquet")
    again = rows_of(read_submission(tmp_path / "theirs.parquet"), IMAGES, "theirs")
    pd.testing.assert_frame_equal(rows, again)


def test_labels_may_stand_beside_and_are_checked(tmp_path):
    truth = dict(zip(IMAGES["image"], IMAGES["label"], strict=True))
    table = filled()
    table["label"] = [truth[name] for name in table["image"]]
    assert len(rows_of(read_submission(written(tmp_path, table)), IMAGES, "theirs"))
    table.loc[table.index[0], "label"] = 1 - table["label"].iloc[0]
    with pytest.raises(InputError, match="labels are wrong, among them that of"):
        rows_of(read_submission(written(tmp_path, table)), IMAGES, "theirs")
    table["label"] = [1 - truth[name] for name in table["image"]]
    with pytest.raises(InputError, match="every label is the wrong way round"):
        rows_of(read_submission(written(tmp_path, table)), IMAGES, "theirs")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda t: t.assign(score=t["score"].mask(t.index == t.index[3])), "is empty, which is no number .1 of 420"),
        (
            lambda t: t.assign(score=t["score"].astype(object).mask(t.index == t.index[3], "high")),
            "is high, which is no",
        ),
        (lambda t: t.assign(score=t["score"].mask(t.index == t.index[3], np.inf)), "is inf, which is no number"),
        (lambda t: pd.concat([t, t.head(2)]), "2 images stand twice, among them"),
        (lambda t: t.iloc[5:], "5 of 420 test images have no score, among them"),
        (lambda t: pd.concat([t, pd.DataFrame({"image": ["else"], "score": [1.0]})]), "1 of 421 images are not test"),
        (
            lambda t: t.rename(columns={"score": "probability"}),
            "needs the columns image and score; it has: 'image', 'prob",
        ),
        (lambda t: t.rename(columns={"image": "name"}), "needs the columns image and score"),
        (lambda t: t.iloc[:0], "420 of 420 test images have no score"),
    ],
)
def test_what_is_wrong_with_scores_is_said(tmp_path, spoil, sentence):
    with pytest.raises(InputError, match=sentence):
        rows_of(read_submission(written(tmp_path, spoil(filled()))), IMAGES, "theirs")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("image,score\nä,1\n".encode("utf-16")[:-1], "is not UTF-8 text"),
        ("image,score\nä,1\n".encode("latin-1"), "is not UTF-8 text"),
        (b"", "cannot be read as a table"),
        (b"a\n1,2,3\n1,2\n", "cannot be read as a table|needs the columns"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, content, sentence):
    path = tmp_path / "theirs.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_submission(path)
    with pytest.raises(InputError, match="does not exist"):
        read_submission(tmp_path / "other.csv")
    path.with_suffix(".parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_submission(path.with_suffix(".parquet"))


def test_names_begin_with_a_letter_and_those_of_earlier_versions_are_accepted(tmp_path):
    assert all(name[0].isalpha() for name in IMAGES["image"])
    table = filled(2.0)
    expected = rows_of(read_submission(written(tmp_path, table)), IMAGES, "theirs")
    table["image"] = table["image"].str[1:]  # the digests alone
    pd.testing.assert_frame_equal(rows_of(read_submission(written(tmp_path, table)), IMAGES, "theirs"), expected)
    twice = pd.concat([filled(), table.head(1)])
    with pytest.raises(InputError, match="1 images stand twice, under the name of an earlier version too"):
        rows_of(read_submission(written(tmp_path, twice)), IMAGES, "theirs")
    table.loc[table.index[0], "image"] = "8,56407E+113"
    with pytest.raises(InputError, match="a spreadsheet turned names into numbers: import that column as text"):
        rows_of(read_submission(written(tmp_path, table, sep=";")), IMAGES, "theirs")


@pytest.mark.parametrize("words", [("real", "fake"), ("Real", " FORGED "), ("0_real", "1_fake"), ("0.0", "1.0")])
def test_labels_may_be_words(tmp_path, words):
    truth = dict(zip(IMAGES["image"], IMAGES["label"], strict=True))
    table = filled()
    table["label"] = [words[truth[name]] for name in table["image"]]
    assert len(rows_of(read_submission(written(tmp_path, table)), IMAGES, "theirs"))
    table["label"] = [words[1 - truth[name]] for name in table["image"]]
    with pytest.raises(InputError, match="every label is the wrong way round: forged is 1 and real is 0"):
        rows_of(read_submission(written(tmp_path, table)), IMAGES, "theirs")


def test_a_label_of_another_language_is_named(tmp_path):
    with pytest.raises(InputError, match="is 'echt'; write forged or 1, real or 0, or leave the column out"):
        read_submission(written(tmp_path, filled().assign(label="echt")))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", ";").replace(".", ","),
        lambda text: text.replace("image,score", "Image,Score"),
        lambda text: text.replace(",", ", ").replace("image, score", " Image , SCORE "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace(",", "\t"),
        lambda text: "sep=;\n" + text.replace(",", ";"),
        lambda text: text.replace("\n", ",,\n", 1).replace("\n", "\n\n"),
        lambda text: "\ufeff" + text,
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_tables_of_spreadsheets_are_read(tmp_path, change, encoding):
    path = written(tmp_path, filled())
    expected = read_submission(path)
    path.write_bytes(change(path.read_bytes().decode()).encode(encoding))
    pd.testing.assert_frame_equal(read_submission(path), expected)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image,score\na,0,5\n", "row 2 has 3 fields and the heading 2; is a comma the decimal mark"),
        ('image,score\na,"1.234,5"\n', "'1.234,5' has marks between thousands; write it as 1234.5"),
        ("image,score,Score\na,1,2\n", "2 columns called score; keep one"),
        ("image,score\na,1_000\n", "the score of a is 1_000, which is no number"),
        ("\n\n", "it is empty"),
    ],
)
def test_the_cause_of_an_unreadable_table_is_named(tmp_path, text, sentence):
    path = tmp_path / "theirs.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_submission(path)


@pytest.mark.parametrize("content", ["image,score\n{},1\n", "image,score\na,{}\n", "{},score\na,1\n", "a,b\n{}\n"])
def test_a_large_cell_is_not_repeated(tmp_path, content):
    path = tmp_path / "theirs.csv"
    path.write_text(content.format("x" * 5_000_000))
    with pytest.raises(InputError) as caught:
        rows_of(read_submission(path), IMAGES, "theirs")
    assert len(str(caught.value)) < 600 + len(str(path)) and "x" * 81 not in str(caught.value)


def test_a_flipped_byte_of_parquet_is_refused_in_a_sentence_or_read(tmp_path):
    path = tmp_path / "theirs.parquet"
    filled().head(30).to_parquet(path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in [*range(len(good) - 700, len(good)), *rng.integers(0, len(good), 100)]:
        bad = bytearray(good)
        bad[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(bad))
        try:
            read_submission(path)
        except InputError:
            continue


def test_a_damaged_name_of_a_column_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "theirs.parquet"
    filled().head(30).to_parquet(path)
    path.write_bytes(path.read_bytes().replace(b"score", b"sc\xffre"))
    with pytest.raises(InputError, match=r"cannot be read as a table|needs the columns image and score"):
        read_submission(path)
