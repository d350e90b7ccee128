import math
import operator
import os

import pytest

from forge.core.errors import BenchError
from forge.faces.parallel import ordered, read_ahead


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    sizes = [3000, 1, 2, 2500, 5, 7, 11, 1]  # the first takes longest
    assert list(ordered(math.factorial, sizes, workers=workers)) == [math.factorial(n) for n in sizes]


def test_chunks_are_taken_only_as_needed():
    taken = []
    results = ordered(operator.neg, (taken.append(i) or i for i in range(100)), workers=2)
    assert next(results) == 0
    assert len(taken) <= 4
    results.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_is_raised_here(workers):
    with pytest.raises(ValueError, match="factorial"):
        list(ordered(math.factorial, [1, -1, 2], workers=workers))


def test_a_killed_worker_is_one_sentence():
    with pytest.raises(BenchError, match="a worker process was killed, most likely because memory ran out"):
        list(ordered(os._exit, [1], workers=2))


def test_reading_ahead_keeps_the_order_and_passes_errors_on():
    assert list(read_ahead(iter(range(5)))) == [0, 1, 2, 3, 4] and list(read_ahead([])) == []

    def broken():
        yield 1
        raise OSError("gone")

    read = read_ahead(broken())
    assert next(read) == 1
    with pytest.raises(OSError, match="gone"):
        next(read)
