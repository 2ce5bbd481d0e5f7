"""Counts of connections that processes share."""

import os

from recae.api.connections import SLOTS, Connections


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
