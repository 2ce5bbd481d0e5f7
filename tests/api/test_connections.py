"""Counts of connections that processes share."""

import os

import pytest

from recae.api.connections import FRESH_S, SLOTS, Connections


def test_the_fewest_are_those_of_a_process_that_lives():
    counts = Connections()
    assert counts.fewest() == 0

    counts.tell(1, 5)
    assert counts.fewest() == 5
    counts.tell(2, 0)
    assert counts.fewest() == 0
    counts.forget(2)
    assert counts.fewest() == 5
    counts.tell(1, 4)
    counts.tell(SLOTS + 3, 9)
    assert counts.fewest() == 4


def test_a_forked_process_is_seen():
    counts = Connections()
    counts.tell(1, 8)
    child = os.fork()
    if child == 0:
        counts.tell(2, 3)
        os._exit(0)
    os.waitpid(child, 0)

    assert counts.fewest() == 3


@pytest.mark.parametrize(
    ("own", "others", "spare"),
    [
        ((8, 8), [(0, 0)], 4),
        ((5, 5), [(4, 4)], 0),
        ((9, 9), [(0, 0), (4, 4)], 4),
        ((44, 4), [(4, 4)], 0),  # the idle ones do no work
        ((44, 8), [(4, 4)], 2),
        ((8, 8), [(60, 0)], 0),  # its idle ones would send the next client back here
        ((4, 4), [(8, 8)], 0),
        ((8, 8), [], 0),
    ],
)
def test_who_is_busier_and_has_more_gives_up_half_of_the_difference(own, others, spare):
    counts = Connections()
    for process, (n_open, n_busy) in enumerate([own, *others], start=1):
        counts.tell(process, n_open)
        counts.tell_busy(process, n_busy, 100.0)

    assert counts.spare(1, 100.5) == spare


def test_to_a_process_that_has_no_model_or_hangs_or_ended_nobody_is_sent():
    counts = Connections()
    for process in (1, 2):
        counts.tell(process, 8 if process == 1 else 0)
    counts.tell_busy(1, 8, 100.0)
    assert counts.spare(1, 100.0) == 0, "the other has told nothing of its work"

    counts.tell_busy(2, 0, 100.0)
    assert counts.spare(1, 100.0) == 4
    counts.tell_busy(1, 8, 100.1 + FRESH_S)
    assert counts.spare(1, 100.1 + FRESH_S) == 0, "the other hangs"
    counts.tell_busy(2, 0, 100.1 + FRESH_S)
    counts.forget(2)
    assert counts.spare(1, 100.1 + FRESH_S) == 0
