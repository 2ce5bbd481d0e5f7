"""Calls that wait at the same time are done together, and each gets its own result or error."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from recae.grouping import PARKING, Grouped


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


class Waiting:
    """Where tasks wait in these tests: each is a thread that stands for one, and the test begins the work."""

    def __init__(self):
        self.works, self.local = [], threading.local()

    def start(self, work, attempt):
        self.works.append((work, attempt))

    def sleep(self):
        assert self.local.woken.wait(30)
        self.local.woken.clear()

    def waker(self):
        self.local.woken = threading.Event()
        return self.local.woken.set


@pytest.fixture
def waiting():
    return Waiting()


def parked(waiting, grouped, *given):
    """Threads that wait as tasks do, and what they came to."""
    results = {}

    def call(one):
        PARKING.set(waiting)
        try:
            results[one] = grouped(one)
        except (ValueError, SystemExit) as error:
            results[one] = error

    threads = [threading.Thread(target=call, args=(one,)) for one in given]
    for number, thread in enumerate(threads, start=1):
        thread.start()
        while len(grouped._waiting) < number:
            threading.Event().wait(0.001)

    def joined():
        for thread in threads:
            thread.join(30)
        return results

    return joined


def upper(given):
    if "bad" in given:
        raise ValueError("bad")
    return [each.upper() for each in given]


def test_tasks_have_the_work_done_once_for_all_of_them(waiting):
    groups = []
    grouped = Grouped(lambda given: groups.append(list(given)) or upper(given), 10)
    joined = parked(waiting, grouped, "a", "b", "c")

    [(work, attempt)] = waiting.works
    assert attempt is None
    work()

    assert joined() == {"a": "A", "b": "B", "c": "C"}
    assert groups == [["a", "b", "c"]]


def test_the_next_task_has_it_begun_again(waiting):
    grouped = Grouped(upper, 10)
    for one in ("a", "b"):
        joined = parked(waiting, grouped, one)
        waiting.works.pop()[0]()
        assert joined() == {one: one.upper()}
    assert waiting.works == []


def test_what_fails_fails_for_the_tasks_of_the_group_and_for_no_other(waiting):
    grouped = Grouped(upper, 2)
    joined = parked(waiting, grouped, "a", "bad", "c")

    waiting.works.pop()[0]()

    results = joined()
    assert results["c"] == "C"
    assert all(isinstance(results[one], ValueError) for one in ("a", "bad"))


def test_what_takes_but_a_moment_is_done_without_a_thread(waiting):
    grouped = Grouped(lambda _: pytest.fail("not in a thread"), 2, briefly=upper)
    joined = parked(waiting, grouped, "a", "b", "c")

    [(_, attempt)] = waiting.works
    assert attempt()

    assert joined() == {"a": "A", "b": "B", "c": "C"}


def test_what_cannot_be_done_in_a_moment_is_left_as_it_was(waiting):
    calls = []
    grouped = Grouped(upper, 2, briefly=lambda given: calls.append(list(given)))
    joined = parked(waiting, grouped, "a", "b", "c")

    [(work, attempt)] = waiting.works
    assert not attempt()
    assert calls == [["a", "b"]]
    work()

    assert joined() == {"a": "A", "b": "B", "c": "C"}


def test_a_moments_error_is_the_groups(waiting):
    grouped = Grouped(lambda _: pytest.fail("it must not be tried again"), 9, briefly=upper)
    joined = parked(waiting, grouped, "a", "bad")

    assert waiting.works[0][1](), "it is settled, not postponed"

    assert all(isinstance(error, ValueError) for error in joined().values())


def test_tasks_leave_it_to_a_thread_where_one_is_at_work(waiting):
    work = Slow()
    grouped = Grouped(work, 10, briefly=upper)
    thread = threading.Thread(target=grouped, args=("a",))
    thread.start()
    assert work.begun.wait(30)
    joined = parked(waiting, grouped, "b")

    assert not waiting.works[0][1]()
    work.go_on.set()
    waiting.works[0][0]()

    assert joined() == {"b": "B"}
    thread.join(30)


def test_threads_and_tasks_wait_for_each_other_in_any_order(waiting):
    """A thousand calls of both kinds: each gets its own, and none waits for ever."""
    pool = ThreadPoolExecutor(4)
    waiting.start = lambda work, _attempt: pool.submit(work)
    grouped = Grouped(lambda given: [2 * one for one in given], 7)
    results = {}

    def call(number):
        PARKING.set(waiting if number % 2 else None)
        for turn in range(100):
            results[number, turn] = grouped(1_000 * number + turn)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    pool.shutdown()

    assert len(results) == 1_000
    assert all(found == 2 * (1_000 * number + turn) for (number, turn), found in results.items())


def test_an_end_of_the_program_leaves_no_task_behind(waiting):
    """SystemExit in the work: who waits is told of it, and the next one is served."""
    first = [True]

    def work(given):
        if first and first.pop():
            raise SystemExit(3)
        return upper(given)

    grouped = Grouped(work, 1)
    joined = parked(waiting, grouped, "a", "b")
    with pytest.raises(SystemExit):
        waiting.works.pop()[0]()
    ended = joined()

    assert isinstance(ended["a"], SystemExit)
    assert ended["b"] == "B"
    joined = parked(waiting, grouped, "c")
    waiting.works.pop()[0]()
    assert joined() == {"c": "C"}
