"""The explorer page in a real browser, over a real server with two versions of the two tastes."""

import json
import re
import shutil
import sys
from contextlib import contextmanager

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from recae.artifacts import ModelStore
from recae.client import Client
from recae.data.catalogue import Catalogue
from tests.browser import chromium, needs_chromium
from tests.retrain.nights import append, begun, garbage, night, settings
from tests.servers import PATIENCE_S, free_port, running
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease

MARKUP = "<img src=x onerror=document.title='broken'>"
KEYED = """
const plain = window.fetch;
window.fetch = (path, options) => path !== "/v1/models" || options.headers["X-API-Key"] === "secret" ? plain(path, options)
  : Promise.resolve(new Response(
    JSON.stringify({error: {code: "unauthorized", message: "this server asks for a key"}, request_id: "r"}),
    {status: 401, headers: {"Content-Type": "application/json"}}));
"""

READING = """
const plain = window.fetch;
window.fetch = (path, options) => !path.includes("/events") ? plain(path, options)
  : Promise.resolve(new Response(
    JSON.stringify({error: {code: "forbidden", message: "the key has the role read; this needs write"}, request_id: "r"}),
    {status: 403, headers: {"Content-Type": "application/json"}}));
"""
HELD = """
const plain = window.fetch;
const held = new Promise((resolve) => { window.go_on = resolve; });
window.fetch = (path, options) => path === "/v1/models" || path === "/v1/items" ? plain(path, options)
  : held.then(() => plain(path, options));
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of a server, its versions, of which the first is in service, and its home."""
    home = tmp_path_factory.mktemp("explored")
    store = ModelStore(home / "models")
    catalogue = Catalogue(item._replace(title=MARKUP) if item.item_id == "z" else item for item in CATALOGUE)
    versions = [store.save(fitted_ease(l2), ITEMS, users=USERS, catalogue=catalogue) for l2 in (1.0, 30.0)]
    store.promote(versions[0])
    evaluation = home / "evaluation" / "tastes"
    evaluation.mkdir(parents=True)
    metrics = ("ndcg@10", "recall@10", "recall@50", "coverage@10")  # wider than a phone
    tested = [{"title": "EASE", "test": {metric: {"value": 0.5} for metric in metrics}}]
    (evaluation / "results.json").write_text(json.dumps({"models": tested}))
    (evaluation / "results.html").write_text("<style>h1 { color: red }</style><h1>All plots</h1>")
    port = free_port()
    with running([sys.executable, "-m", "recae", "serve"], home, port):
        yield f"http://127.0.0.1:{port}", versions, home


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(served, browser):
    """The page as somebody sees it who comes for the first time."""
    browser.get(f"{served[0]}/openapi.json")
    browser.execute_script("sessionStorage.clear()")
    browser.get(f"{served[0]}/")
    browser.get_log("browser")
    until(browser, lambda: ranking(browser, "taste-list"))
    return browser


def until(driver, holds):
    WebDriverWait(driver, PATIENCE_S, poll_frequency=0.02).until(lambda _driver: holds())


def by_id(driver, name):
    return driver.find_element(By.ID, name)


@contextmanager
def replaced(driver, source):
    """A script that runs before that of every page opened in the block: answers this server does not give."""
    added = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def texts(driver, selector):
    """What stands in the elements, read in one step: the script may replace them at any time."""
    script = "return [...document.querySelectorAll(arguments[0])].map((node) => node.innerText)"
    return driver.execute_script(script, selector)


def ranking(driver, name):
    return texts(driver, f"#{name} .title")


def pick(driver, typed):
    """Choose the first title found, by keyboard alone."""
    box = by_id(driver, "search")
    box.send_keys(typed)
    until(driver, lambda: by_id(driver, "found").get_attribute("data-query") == typed)
    box.send_keys(Keys.ARROW_DOWN)
    assert by_id(driver, box.get_attribute("aria-activedescendant")).get_attribute("aria-selected") == "true"
    box.send_keys(Keys.ENTER)


def view(driver, name):
    driver.find_element(By.CSS_SELECTOR, f"nav a[href='#{name}']").click()
    until(driver, lambda: by_id(driver, name).is_displayed())


@needs_chromium
def test_a_taste_is_built_by_keyboard_and_the_suggestions_follow_with_reasons(page):
    assert ranking(page, "taste-list")[0] == "Alien (1979)", "the most popular"
    pick(page, "alien")
    until(page, lambda: texts(page, "#taste-strategy") == ["from this history"])
    pick(page, "braz")
    until(page, lambda: ranking(page, "taste-list")[:1] == ["Contact (1997)"])

    assert texts(page, "#chosen button") == ["Alien (1979)", "Brazil (1985)"]
    assert texts(page, "#taste-list .why")[0].startswith("because of ")
    page.find_element(By.CSS_SELECTOR, "#chosen button").click()
    until(page, lambda: texts(page, "#chosen button") == ["Brazil (1985)"])
    until(page, lambda: "Alien (1979)" in ranking(page, "taste-list"))


@needs_chromium
def test_escape_closes_the_search_and_what_nobody_has_is_said(page):
    box = by_id(page, "search")
    box.send_keys("no such title")
    until(page, lambda: texts(page, "#found li") == ["No title has these words."])
    box.send_keys(Keys.ESCAPE)

    assert box.get_attribute("aria-expanded") == "false"
    assert not by_id(page, "found").is_displayed()


@needs_chromium
def test_a_title_with_markup_stays_text(page):
    until(page, lambda: any(MARKUP in title for title in ranking(page, "taste-list")))

    assert page.title == "recae explorer"
    assert page.get_log("browser") == []


@needs_chromium
def test_a_users_history_stands_beside_the_suggestions(page):
    view(page, "user")
    by_id(page, "user-id").send_keys("1", Keys.ENTER)
    until(page, lambda: texts(page, "#history-list li"))

    assert ranking(page, "user-list")[0] == "Contact (1997)"
    assert set(texts(page, "#history-list li > :first-child")) == {"Alien (1979)", "Brazil (1985)"}
    by_id(page, "user-id").clear()
    by_id(page, "user-id").send_keys("nobody", Keys.ENTER)
    until(page, lambda: texts(page, "#history-note")[0].startswith("Nobody by this id"))


@needs_chromium
def test_a_history_of_the_event_log_has_titles_where_the_catalogue_has_them(page, served):
    with Client(served[0]) as client:
        client.send_events([{"user_id": "logged", "item_id": item_id} for item_id in ("a", "unheard-of")])
    view(page, "user")
    by_id(page, "user-id").send_keys("logged", Keys.ENTER)
    until(page, lambda: texts(page, "#history-list li"))

    assert set(texts(page, "#history-list li > :first-child")) == {"Alien (1979)", "unheard-of"}


@needs_chromium
def test_a_long_history_is_folded_and_a_value_that_says_something_is_shown(page, served):
    events = [
        {"user_id": "long", "item_id": item_id, "event_type": "rating", "value": value, "timestamp": at}
        for at, (item_id, value) in enumerate([("a", 1.5), ("b", 1), *[("elsewhere", 4)] * 118])
    ]
    with Client(served[0]) as client:
        client.send_events(events)
    view(page, "user")
    by_id(page, "user-id").send_keys("long", Keys.ENTER)
    until(page, lambda: len(texts(page, "#history-list li")) == 20)

    assert texts(page, "#history-note")[0].startswith("120 in the event log")
    more = by_id(page, "history-more")
    assert (more.text, more.get_attribute("aria-expanded")) == ("Show all 120", "false")
    more.send_keys(Keys.ENTER)
    until(page, lambda: more.get_attribute("aria-expanded") == "true")
    when = texts(page, "#history-list .when")
    assert when[-3:] == ["rating 4, 1970-01-01", "rating, 1970-01-01", "rating 1.5, 1970-01-01"]
    assert not any("training data" in text for text in when)
    more.send_keys(Keys.ENTER)
    until(page, lambda: len(texts(page, "#history-list li")) == 20)


@needs_chromium
def test_of_a_history_that_is_not_read_to_its_end_the_rest_may_be_earlier_events(page, served):
    older = [{"user_id": "1", "item_id": "a", "timestamp": 1}]
    newer = [{"user_id": "1", "item_id": "elsewhere", "timestamp": at} for at in range(2, 1_003)]
    with Client(served[0]) as client:
        client.send_events(older + newer)
    try:
        view(page, "user")
        by_id(page, "user-id").send_keys("1", Keys.ENTER)
        until(page, lambda: by_id(page, "history-more").is_displayed())
        by_id(page, "history-more").click()

        assert texts(page, "#history-note")[0].startswith(
            "1,000 newest in the event log; then earlier events"
        )
        assert set(texts(page, "#history-list .when")[1_000:]) == {"earlier, or training data"}
    finally:
        with Client(served[0]) as client:
            client.delete_user("1")


@needs_chromium
def test_a_key_that_may_not_read_events_shows_the_suggestions_and_says_what_is_missing(page, served):
    with replaced(page, READING):
        page.get(f"{served[0]}/?reading#user")
        by_id(page, "user-id").send_keys("2", Keys.ENTER)
        until(page, lambda: texts(page, "#history-note")[0].startswith("A key with the role write"))

        assert ranking(page, "user-list")
        assert not by_id(page, "key-dialog").is_displayed()


@needs_chromium
@pytest.mark.parametrize(("name", "box"), [("user", "user-id"), ("compare", "compare-user")])
def test_a_view_shows_that_it_waits_for_an_answer(page, served, name, box):
    with replaced(page, HELD):
        page.get(f"{served[0]}/?held#{name}")
        button = page.find_element(By.CSS_SELECTOR, f"#{name} [type=submit]")
        busy = page.find_element(By.CSS_SELECTOR, f"#{name} [aria-busy]")
        if name == "compare":
            until(page, lambda: by_id(page, "compare-right").get_attribute("value"))
        by_id(page, box).send_keys("2")
        button.send_keys(Keys.ENTER)
        until(page, lambda: busy.get_attribute("aria-busy") == "true")
        assert button.get_attribute("aria-disabled") == "true"
        page.execute_script("go_on()")
        until(page, lambda: busy.get_attribute("aria-busy") == "false")
        assert button.get_attribute("aria-disabled") == "false"
        assert page.switch_to.active_element == button


@needs_chromium
def test_the_link_that_skips_the_head_stays_in_its_view(page):
    view(page, "user")
    page.execute_script("document.querySelector('.skip').focus()")
    page.switch_to.active_element.send_keys(Keys.ENTER)
    until(page, lambda: page.switch_to.active_element.get_attribute("id") == "main")

    assert by_id(page, "user").is_displayed()
    assert page.current_url.endswith("#user")


@needs_chromium
@pytest.mark.parametrize("name", ["constructor", "no-such-view"])
def test_an_address_that_names_no_view_shows_the_first(page, name):
    view(page, "user")
    page.execute_script("location.hash = arguments[0]", name)
    until(page, lambda: by_id(page, "taste").is_displayed())

    assert page.get_log("browser") == []


@needs_chromium
def test_two_models_stand_side_by_side(page, served):
    view(page, "compare")
    until(page, lambda: by_id(page, "compare-right").get_attribute("value") == served[1][1])
    by_id(page, "compare-user").send_keys("1", Keys.ENTER)
    until(page, lambda: ranking(page, "right-list"))

    assert texts(page, "#left-name, #right-name") == served[1]
    assert "items are suggested by both" in texts(page, "#compare-note")[0]


@needs_chromium
def test_a_version_is_promoted_and_rolled_back_after_a_question(page, served):
    first, second = served[1]

    def in_service():
        return [name.split()[0] for name in texts(page, "#models-list .name") if "in service" in name]

    view(page, "models")
    until(page, lambda: in_service() == [first])
    rollback = by_id(page, "rollback")
    assert (rollback.is_enabled(), rollback.text) == (False, "No earlier version to roll back to")
    page.find_element(By.CSS_SELECTOR, "#models-list button").click()
    assert second in by_id(page, "sure-what").text
    by_id(page, "sure-dialog").find_element(By.CSS_SELECTOR, "button[value=cancel]").click()
    assert in_service() == [first]
    assert page.switch_to.active_element.get_attribute("aria-label") == f"Promote {second}"
    page.find_element(By.CSS_SELECTOR, "#models-list button").click()
    by_id(page, "sure-dialog").find_element(By.CSS_SELECTOR, "button[value=yes]").click()
    until(page, lambda: in_service() == [second])
    until(page, lambda: page.switch_to.active_element.get_attribute("id") == "in-service")
    until(page, lambda: texts(page, "#serving, #arriving") == [second, ""])
    assert by_id(page, "rollback").text == f"Roll back to {first}"
    by_id(page, "rollback").click()
    assert first in by_id(page, "sure-what").text
    by_id(page, "sure-dialog").find_element(By.CSS_SELECTOR, "button[value=yes]").click()
    until(page, lambda: in_service() == [first])
    until(page, lambda: texts(page, "#serving, #arriving") == [first, ""])


@needs_chromium
def test_the_latest_evaluation_is_a_table_with_a_link_to_its_page(page):
    view(page, "models")
    until(page, lambda: texts(page, "#evaluation td") == ["0.5000"] * 4)
    assert texts(page, "#evaluation tbody th") == ["EASE"]

    link = page.find_element(By.LINK_TEXT, "the report with plots")
    link.click()
    until(page, lambda: page.find_element(By.TAG_NAME, "h1").text == "All plots")
    assert page.find_element(By.TAG_NAME, "h1").value_of_css_property("color") == "rgba(255, 0, 0, 1)"


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory):
    """The records of two real nights: the first model is promoted, and one that learned from garbage is refused."""
    where = begun(settings(tmp_path_factory.mktemp("nights")))
    append(where, garbage(8))
    assert night(where, 8).status == "refused"
    return where.runs


@needs_chromium
def test_runs_come_with_the_verdicts_that_decided_them_and_a_plot(page, served, two_nights):
    runs = served[2] / "runs"
    shutil.copytree(two_nights, runs)
    try:
        view(page, "runs")
        until(page, lambda: texts(page, "#runs-list .name"))
    finally:
        shutil.rmtree(runs)

    assert [text.split()[1] for text in texts(page, "#runs-list .name")] == ["refused", "promoted"]
    refused, promoted = page.find_elements(By.CSS_SELECTOR, "#runs-list .gate")
    assert re.match(r"\d of \d+ rules (is|are) against it", refused.text)
    shown = [
        rule.text for rule in refused.find_elements(By.CSS_SELECTOR, ".verdicts li") if rule.is_displayed()
    ]
    assert re.match(
        r"refused\s+not worse\s+the candidate reaches 0\.\d{4}, the live model 0\.\d{4}", shown[0]
    )
    assert all(rule.startswith("refused") for rule in shown), "the rules that it passed are folded"
    assert re.search(r"\d of \d+ rules passed$", refused.text)
    assert re.match(r"All \d+ rules passed", promoted.text)
    assert not promoted.find_element(By.CSS_SELECTOR, ".verdicts").is_displayed()
    plot = page.find_element(By.CSS_SELECTOR, "svg.plot")
    assert re.fullmatch(
        r"candidate ndcg@20 over 2 run\(s\), from 0\.\d{4} to 0\.\d{4}", plot.get_attribute("aria-label")
    )


@needs_chromium
def test_a_server_with_keys_is_asked_with_the_key_that_the_reader_gives(page, served):
    with replaced(page, KEYED):
        page.get(f"{served[0]}/?keyed")
        view(page, "models")
        until(page, lambda: by_id(page, "key-dialog").is_displayed())
        assert by_id(page, "key-why").text == "this server asks for a key"
        by_id(page, "key").send_keys("secret", Keys.ENTER)
        until(page, lambda: texts(page, "#models-list .name"))

        page.execute_script("sessionStorage.clear()")
        page.refresh()
        until(page, lambda: by_id(page, "key-dialog").is_displayed())
        by_id(page, "key").send_keys("wrong", Keys.ENTER)
        until(
            page,
            lambda: (
                by_id(page, "key-dialog").is_displayed() and not by_id(page, "key").get_attribute("value")
            ),
        )
        until(page, lambda: page.execute_script("return sessionStorage.getItem('recae-key')") is None)
        until(page, lambda: by_id(page, "key-dialog").is_displayed())
        by_id(page, "key").send_keys(Keys.ESCAPE)
        until(page, lambda: by_id(page, "notice").is_displayed())
        assert page.switch_to.active_element.get_attribute("id") == "models-title"
        assert page.execute_script("return sessionStorage.getItem('recae-key')") is None, "it was refused"
        assert by_id(page, "notice").text == "this server asks for a key"


@needs_chromium
def test_a_server_that_gives_few_items_shows_as_many(page, served):
    port = free_port()
    with running([sys.executable, "-m", "recae", "serve"], served[2], port, RECAE_MAX_N="3"):
        page.get(f"http://127.0.0.1:{port}/")
        until(page, lambda: len(ranking(page, "taste-list")) == 3)
        page.get(f"http://127.0.0.1:{port}/#user")
        by_id(page, "user-id").send_keys("1", Keys.ENTER)
        until(page, lambda: len(ranking(page, "user-list")) == 3)

        assert texts(page, "#notice") == [""]


@needs_chromium
def test_without_runs_the_page_says_so(page):
    view(page, "runs")
    until(page, lambda: by_id(page, "runs-none").is_displayed())

    assert "No runs yet" in by_id(page, "runs-none").text


@needs_chromium
@pytest.mark.parametrize("name", ["taste", "user", "compare", "models", "runs"])
def test_every_view_fits_a_phone_and_can_be_reached_by_a_screen_reader(page, name):
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    view(page, name)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        if name == "models":
            until(page, lambda: texts(page, "#evaluation td"))
            table = page.find_element(By.CSS_SELECTOR, "#evaluation [role=region][tabindex='0']")
            assert page.execute_script("return arguments[0].scrollWidth > arguments[0].clientWidth", table)
            assert table.value_of_css_property("background-image").count("gradient") == 4, (
                "shadows tell of more"
            )
    finally:
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size | {"width": 1100, "mobile": False})
    assert page.switch_to.active_element.get_attribute("id") == f"{name}-title"
    assert texts(page, "nav a[aria-current=page]") == [name.capitalize()]
    unnamed = "return [...document.querySelectorAll('input')].filter((box) => !box.labels.length).length"
    assert page.execute_script(unnamed) == 0
    assert len([heading for heading in page.find_elements(By.TAG_NAME, "h1") if heading.is_displayed()]) == 1


def test_the_page_holds_no_script_and_no_style_of_its_own_and_forbids_both(client):
    answer = client.get("/")

    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "style=" not in answer.text
    assert "<style" not in answer.text
    assert " onclick" not in answer.text
    assert answer.text.count("<script") == answer.text.count('<script type="module" src="/static/') == 1
    assert "//" not in answer.text.replace("</", ""), "nothing from elsewhere"


def test_the_files_of_the_page_are_served_and_no_others(client):
    for name, kind in (("explorer.css", "text/css"), ("explorer.js", "text/javascript")):
        with client.get(f"/static/{name}") as answer:
            assert answer.mimetype == kind
    for path in ("/static/nothing.js", "/static/../app.py", "/static/"):
        answer = client.get(path)
        assert (answer.status_code, answer.json["error"]["code"]) == (404, "not_found"), path
