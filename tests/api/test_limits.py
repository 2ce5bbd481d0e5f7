"""Token buckets: what they let through follows from the clock alone."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from recae.api import create_app
from recae.api.limits import RateLimiter
from recae.config import Settings

KEY, OTHER = "k" * 40, "o" * 40


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_full_bucket_gives_its_burst_then_one_token_as_often_as_it_gains_one():
    clock = Clock()
    limiter = RateLimiter(per_s=2.0, burst=3, clock=clock)

    assert [limiter.take("a") for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 0.5]
    clock.now = 0.25
    assert limiter.take("a") == 0.25
    clock.now = 0.5
    assert [limiter.take("a"), limiter.take("a")] == [0.0, 0.5]
    clock.now = 1_000.0
    assert [limiter.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_buckets_do_not_share():
    limiter = RateLimiter(per_s=1.0, burst=1, clock=Clock())

    assert (limiter.take("a"), limiter.take("b")) == (0.0, 0.0)
    assert limiter.take("a") == 1.0


@given(st.lists(st.floats(0, 3), max_size=40), st.floats(0.5, 10), st.integers(1, 5))
def test_over_any_stretch_of_time_no_more_pass_than_the_burst_and_what_was_gained(waits, per_s, burst):
    clock = Clock()
    limiter = RateLimiter(per_s, burst, clock)
    passed = 0
    for wait in waits:
        clock.now += wait
        passed += limiter.take("a") == 0.0
        assert passed <= burst + clock.now * per_s + 1e-6


def test_threads_at_once_get_exactly_the_burst():
    limiter = RateLimiter(per_s=1.0, burst=50, clock=Clock())
    passed = []

    def take():
        passed.extend(limiter.take("a") == 0.0 for _ in range(25))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(passed) == 50


def test_a_key_over_its_limit_gets_429_and_when_to_come_back_and_probes_are_free(recommender, home):
    configured = f"shop:read:{KEY},other:read:{OTHER}"
    settings = Settings(home=home, api_keys=configured, rate_limit_per_s=0.1, burst=2)
    client = create_app(settings, recommender).test_client()

    def ask(key):
        return client.get("/v1/users/1/recommendations", headers={"X-API-Key": key})

    assert [ask(KEY).status_code for _ in range(3)] == [200, 200, 429]
    refused = ask(KEY)
    assert refused.json["error"]["code"] == "rate_limited"
    assert 1 <= int(refused.headers["Retry-After"]) <= 10
    assert ask(OTHER).status_code == 200, "another key has a bucket of its own"
    assert [client.get("/health/live").status_code for _ in range(5)] == [200] * 5


def test_wrong_keys_take_no_tokens_of_anybody(recommender, home):
    settings = Settings(home=home, api_keys=f"shop:read:{KEY}", rate_limit_per_s=0.1, burst=1)
    client = create_app(settings, recommender).test_client()
    for number in range(5):
        headers = {"X-API-Key": f"wrong{number}"}
        assert client.get("/v1/users/1/recommendations", headers=headers).status_code == 401

    assert client.get("/v1/users/1/recommendations", headers={"X-API-Key": KEY}).status_code == 200
