"""What a browser is told about pages and about JSON."""

import pytest


@pytest.fixture
def page(app):
    app.add_url_rule("/docs", "page", lambda: "<p>a page")
    return app.test_client().get("/docs")


def test_a_page_may_load_from_this_server_alone_and_run_nothing_written_into_it(page):
    policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))

    assert page.status_code == 200
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    "path", ["/health/live", "/nowhere", "/v1/users/1/recommendations", "/metrics", "/docs"]
)
def test_no_answer_may_be_taken_for_another_type(client, path):
    assert client.get(path).headers["X-Content-Type-Options"] == "nosniff"


def test_recommendations_are_not_kept_by_caches(client):
    headers = client.get("/v1/users/1/recommendations").headers

    assert headers["Cache-Control"] == "no-store"
    assert "Content-Security-Policy" not in headers
