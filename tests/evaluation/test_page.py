"""The HTML report: in a real browser, and in words."""

import re

import pytest

from recae.evaluation import page, report, runner
from recae.evaluation.protocol import Protocol
from tests.browser import chromium, needs_chromium

from .evaluation_fakes import held_out_split, ranking_protocol
from .test_runner import rating_protocol, rating_split

PROTOCOL = {
    "name": "by-hand",
    "about": "Not <b>bold</b>.",
    "data": {"source": "made-up"},
    "metrics": {"report": ["ndcg@3", "recall@2", "coverage@3"], "select": "ndcg@3"},
    "models": [
        {"name": "by_column", "label": "right", "search": {"favourite": [4, 5]}},
        {"name": "by_column", "label": "wrong & <i>sly</i>", "settings": {"favourite": 1}},
    ],
}


@pytest.fixture
def results(monkeypatch, fake_models):
    monkeypatch.setattr(runner, "load_split", lambda _protocol, _seed=None: held_out_split())
    monkeypatch.setattr(runner, "load_catalogue", lambda _protocol: None)
    return runner.evaluate(
        Protocol.model_validate(PROTOCOL), show_progress=False, command="recae evaluate p.toml"
    )


def test_the_page_holds_every_number_of_the_table(results):
    html = page.html(results)

    for model in results.models:
        for measured in model.test.values():
            assert f"{measured.value:.4f}" in html
    assert "recae evaluate p.toml" in html
    assert "favourite=4" in html


def test_no_name_becomes_markup(results):
    html = page.html(results)

    assert "Not &lt;b&gt;bold&lt;/b&gt;." in html
    assert "<i>sly</i>" not in html


def test_the_page_asks_nothing_of_the_network(results):
    html = page.html(results)

    assert re.findall(r"""(?:src|href)=["'](?!#|data:,)""", html) == []
    assert "@import" not in html
    assert "url(" not in html


def test_ratings_are_shown_beside_what_was_predicted(monkeypatch, fake_models):
    monkeypatch.setattr(runner, "load_split", lambda _protocol, _seed=None: rating_split())
    monkeypatch.setattr(runner, "load_catalogue", lambda _protocol: None)
    html = page.html(runner.evaluate(rating_protocol(), show_progress=False))

    assert "<td>4.0</td><td>3.00</td>" in re.sub(r"\s*\n\s*", "", html)
    assert "Is the difference real" not in html


def test_what_is_of_the_first_of_several_seeds_says_so(monkeypatch, fake_models):
    monkeypatch.setattr(runner, "load_split", lambda _protocol, _seed=None: held_out_split())
    monkeypatch.setattr(runner, "load_catalogue", lambda _protocol: None)
    protocol = ranking_protocol({"name": "by_seed"}, {"settings": {"seed": 0}}, seeds=[4, 5])
    html = page.html(runner.evaluate(protocol, show_progress=False))

    for heading in ("Plots", "Groups of users", "Example users"):
        assert f">{heading}, first seed (4)</h2>" in html
    assert "user by user, first seed (4)." in html
    # by_seed hits 1/3 of the users with seed 4 and all with seed 5; a point has both its values from seed 4
    assert "<title>by_seed: coverage@2 0.5, recall@2 0.1667</title>" in html


def test_one_seed_is_no_first_one(results):
    assert "first seed" not in page.html(results)
    assert "of groups of 10 users or more; of fewer, the mean alone" in page.html(results)


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (390, True)], ids=["screen", "dark phone"])
def test_the_page_reads_well_in_a_browser(results, tmp_path, width, dark):
    *_, path = report.write(results, tmp_path / "report")
    with chromium(tmp_path / "profile", width=width, dark=dark, offline=True) as browser:
        browser.get(path.as_uri())

        assert browser.title == "by-hand: evaluation"
        assert browser.get_log("browser") == [], "no error, nothing that could not be loaded"
        wide = "return [document.documentElement.scrollWidth, innerWidth]"
        scrolled, shown = browser.execute_script(wide)
        assert scrolled <= shown == width, "nothing sticks out"
        assert [
            cell.text for cell in browser.find_elements("css selector", "#table + .wide tbody td:first-child")
        ] == [
            "right",
            "wrong & <i>sly</i>",
        ]
        small = "return [...document.querySelectorAll('svg text')].filter(e => e.getBoundingClientRect().height < 8).length"
        assert browser.execute_script(small) == 0, "every number of a plot can be read"
        paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", paper))) < 80) == dark
        summaries = browser.find_elements("css selector", "details summary")
        assert len(summaries) == 4, "three example users, and what was tried"
        summaries[2].click()
        assert summaries[2].find_element("xpath", "..").get_attribute("open") is not None
