"""Calls that wait at the same time are done together, and each gets its own result or error."""

import threading

import pytest

from recae.grouping import Grouped


class Slow:
    """Work that the test holds back, and that notes what it was given."""

    def __init__(self):
        self.groups = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, given):
        self.groups.append(list(given))
        self.begun.set()
        assert self.go_on.wait(30)
        if "bad" in given:
            raise ValueError("bad")
        return [each.upper() for each in given]


def called(grouped, *given):
    """Call from a thread each, the first alone at work while the others queue up; results by what was given."""
    results = {}

    def call(one):
        try:
            results[one] = grouped(one)
        except ValueError as error:
            results[one] = error

    first, *others = (threading.Thread(target=call, args=(one,)) for one in given)
    first.start()
    assert grouped._work.begun.wait(30)
    for thread in others:
        thread.start()
    while len(grouped._waiting) < len(others):
        threading.Event().wait(0.001)
    grouped._work.go_on.set()
    for thread in (first, *others):
        thread.join(30)
    return results


def test_who_waits_is_served_together_and_gets_what_is_their_own():
    work = Slow()

    results = called(Grouped(work, 10), "a", "b", "c", "d")

    assert results == {"a": "A", "b": "B", "c": "C", "d": "D"}
    assert work.groups[0] == ["a"]
    assert sorted(work.groups[1]) == ["b", "c", "d"]
    assert len(work.groups) == 2


def test_a_group_is_no_larger_than_allowed_but_for_a_single_one():
    work = Slow()
    work.go_on.set()
    grouped = Grouped(work, 3, len)

    assert grouped("longer than that") == "LONGER THAN THAT"
    work.go_on.clear()
    work.begun.clear()
    called(grouped, "first", "aa", "bb", "c")

    assert all(sum(map(len, group)) <= 3 for group in work.groups[2:])


def test_an_error_is_everybodys_of_its_group_and_nobody_elses():
    results = called(Grouped(Slow(), 10), "a", "bad", "c")

    assert results["a"] == "A"
    assert isinstance(results["bad"], ValueError)
    assert isinstance(results["c"], ValueError)


def test_after_an_error_the_next_call_works():
    work = Slow()
    work.go_on.set()
    grouped = Grouped(work, 10)
    with pytest.raises(ValueError, match="bad"):
        grouped("bad")

    assert grouped("a") == "A"
