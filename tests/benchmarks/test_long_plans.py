"""Plans with very many stages: chains that are longer than Python's limit of nested calls."""

import sys
from dataclasses import dataclass

import pytest

from benchmarks.workflow.stage import Stage

LENGTH = 5000


@dataclass(frozen=True, eq=False, kw_only=True)
class Link(Stage):
    action = "link"
    VERSION = 1

    number: int
    before: "Link | None" = None

    @property
    def label(self):
        return str(self.number)

    @property
    def settings(self):
        return {"number": self.number}

    def run(self, job):
        return {}


def chain(length=LENGTH):
    links = [Link(number=0)]
    while len(links) < length:
        links.append(Link(number=len(links), before=links[-1]))
    return links


@pytest.fixture(autouse=True)
def few_nested_calls():
    assert sys.getrecursionlimit() < LENGTH


def test_the_last_key_of_a_long_chain_is_that_of_keys_made_in_order():
    ordered = [link.key for link in chain()]
    assert chain()[-1].key == ordered[-1]
    assert len(set(ordered)) == LENGTH
