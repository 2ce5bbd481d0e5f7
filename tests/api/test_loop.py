"""Tasks of the loop: they change places where they wait, and only there."""

import queue
import threading

import pytest
from flask import Flask, g

from recae.api.loop import Loop
from recae.grouping import PARKING, Grouped


@pytest.fixture
def calls():
    """What threads have asked the loop to call."""
    return queue.Queue()


@pytest.fixture
def loop(calls):
    opened = Loop(calls.put)
    yield opened
    opened.close()


def upper(given):
    return [each.upper() for each in given]


def test_a_task_that_waits_for_nothing_is_at_its_end(loop):
    done = []

    assert loop.run(done.append, "a")
    assert done == ["a"]


def test_tasks_that_wait_are_served_together_by_a_thread(loop, calls):
    groups, threads, results = [], [], []

    def work(given):
        groups.append(list(given))
        threads.append(threading.get_ident())
        return upper(given)

    grouped = Grouped(work, 10)
    for name in "abc":
        assert not loop.run(lambda name: results.append(grouped(name)), name)
    assert groups == [], "not before all were looked at"

    loop.begin_works()
    for _ in range(3):
        calls.get(timeout=30)()

    assert results == ["A", "B", "C"]
    assert groups == [["a", "b", "c"]]
    assert threads[0] != threading.get_ident()


def test_a_moments_work_is_done_in_the_loop(loop, calls):
    results = []
    grouped = Grouped(lambda _: pytest.fail("not in a thread"), 10, briefly=upper)
    for name in "ab":
        loop.run(lambda name: results.append(grouped(name)), name)

    loop.begin_works()

    assert results == ["A", "B"]
    assert calls.empty()


def test_a_task_that_waits_twice_goes_on_twice(loop):
    results = []
    grouped = Grouped(upper, 10, briefly=upper)
    loop.run(lambda: results.append(grouped(grouped("a") + "b")))

    loop.begin_works()

    assert results == ["AB"]


def test_an_error_of_the_work_comes_out_in_each_task(loop):
    def fails(_given):
        raise ValueError("no disk")

    errors = []
    grouped = Grouped(fails, 10, briefly=fails)

    def task():
        try:
            grouped("a")
        except ValueError as error:
            errors.append(str(error))

    for _ in range(2):
        loop.run(task)
    loop.begin_works()

    assert errors == ["no disk", "no disk"]


def test_each_task_has_a_context_of_its_own(loop):
    """Flask keeps a request's state in context variables: those of one that waits must not show in another."""
    app = Flask("any")
    grouped = Grouped(upper, 10, briefly=upper)
    seen = []

    def task(name):
        with app.test_request_context("/" + name):
            g.name = name
            grouped(name)
            seen.append((name, g.name))

    for name in "abc":
        loop.run(task, name)
    loop.begin_works()

    assert seen == [("a", "a"), ("b", "b"), ("c", "c")]
    assert PARKING.get() is None, "the loop itself waits for nobody"
