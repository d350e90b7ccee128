"""Values that are computed once for several sets."""

import numpy as np
import pytest

from forge.quality.kept import Kept


def test_equal_parts_are_computed_once_and_others_anew():
    kept, computed = Kept[int](2), []

    def of(*parts):
        return kept.get(lambda: computed.append(parts) or len(computed), *parts)

    images = np.arange(12, dtype=np.uint8)
    assert of(images, 1) == of(images.copy(), 1) == of(images[::-1][::-1], 1) == 1
    # another value, place, shape, kind of number or seed is another part
    changed = [images[::-1], images.reshape(3, 4), images.astype(np.int16), images.view(np.int8)]
    assert [of(each, 1) for each in changed] == [2, 3, 4, 5] and of(images, 2) == 6
    # the two that were asked for last are kept
    assert of(images.view(np.int8), 1) == 5 and of(images, 1) == 7 and of(images, 2) == 8


def test_words_are_parts_too_and_an_error_is_not_kept():
    kept = Kept[int](2)
    words = np.array(["a", "bc"], dtype=object)
    assert kept.get(lambda: 1, words) == kept.get(lambda: 2, words.copy()) == 1
    assert kept.get(lambda: 3, np.array(["ab", "c"], dtype=object)) == 3
    with pytest.raises(ZeroDivisionError):
        kept.get(lambda: 1 // 0, "x")
    assert kept.get(lambda: 4, "x") == 4
