"""Who may ask for what: every route has a role, keys are asked for once there are any, and only local programs without."""

import logging

import pytest

from recae import keys
from recae.api import create_app
from recae.api.access import OPEN, ROLES, role_of
from recae.api.server import gunicorn_options
from recae.config import Settings
from recae.keys import KeyFile, Role

READ, WRITE, ADMIN = ("r" * 40, "w" * 40, "a" * 40)
CONFIGURED = f"reader:read:{READ},writer:write:{WRITE},boss:admin:{ADMIN}"
FOR_READERS = "/v1/users/1/recommendations"


@pytest.fixture
def locked(recommender, home):
    return create_app(Settings(home=home, api_keys=CONFIGURED), recommender)


def test_every_route_has_a_role_of_its_own(app):
    declared = [
        f"{method} {rule}"
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if role_of(method, rule.rule) is Role.ADMIN
        and "/admin/" not in rule.rule
        and "models" not in rule.rule
    ]

    assert declared == [], "name them in recae.api.access.ROLES"


def test_a_route_that_nobody_declared_needs_an_admin():
    assert role_of("POST", "/v1/brand-new/<int:number>") is Role.ADMIN
    assert role_of("HEAD", "/v1/popular") is role_of("GET", "/v1/popular") is Role.READ


def test_only_probes_and_descriptions_are_open():
    assert {place for place, role in ROLES.items() if role is OPEN} == {
        "GET /",
        "GET /docs",
        "GET /docs/style.css",
        "GET /health/live",
        "GET /health/ready",
        "GET /openapi.json",
        "GET /static/{}",
    }
    writing = [place for place, role in ROLES.items() if not place.startswith("GET ") and role is Role.READ]
    assert sorted(writing) == ["POST /v1/rank", "POST /v1/recommendations", "POST /v1/recommendations/batch"]


@pytest.mark.parametrize("key", [READ, WRITE, ADMIN])
@pytest.mark.parametrize("form", ["X-API-Key: {}", "Authorization: Bearer {}", "Authorization: bearer  {}"])
def test_a_key_opens_in_either_header(locked, form, key):
    name, value = form.format(key).split(": ")

    assert locked.test_client().get(FOR_READERS, headers={name: value}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": READ[:-1]},
        {"X-API-Key": f"{READ} "[::-1]},
        {"X-API-Key": "\xff" * 40},
        {"X-API-Key": f"{READ},{READ}"},
        {"Authorization": READ},
        {"Authorization": f"Basic {READ}"},
        {"Authorization": "Bearer"},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {READ}"},
    ],
)
def test_without_a_known_key_the_answer_is_401_in_the_one_shape(locked, headers):
    response = locked.test_client().get(FOR_READERS, headers=headers)

    assert (response.status_code, response.json["error"]["code"]) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert response.json["request_id"] == response.headers["X-Request-ID"]


def test_a_role_that_is_too_low_is_403_and_says_which_is_needed(recommender, home, monkeypatch):
    monkeypatch.setitem(ROLES, "GET /v1/users/{}/recommendations", Role.WRITE)
    client = create_app(Settings(home=home, api_keys=CONFIGURED), recommender).test_client()
    response = client.get(FOR_READERS, headers={"X-API-Key": READ})

    assert (response.status_code, response.json["error"]["code"]) == (403, "forbidden")
    assert response.json["error"]["message"] == "the key 'reader' has the role read; this needs write"
    assert client.get(FOR_READERS, headers={"X-API-Key": WRITE}).status_code == 200


def test_probes_and_the_description_are_open_and_metrics_are_not(locked):
    client = locked.test_client()

    for path in ("/health/live", "/health/ready", "/openapi.json"):
        assert client.get(path).status_code == 200, path
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"X-API-Key": READ}).status_code == 200


def test_who_has_no_key_is_told_so_before_the_body_is_read(locked):
    response = locked.test_client().post("/v1/recommendations", data=b"{", content_type="text/plain")

    assert response.status_code == 401


def test_without_keys_only_programs_on_this_machine_are_answered(app):
    def asked_from(address):
        return app.test_client().get(FOR_READERS, environ_overrides={"REMOTE_ADDR": address})

    assert [asked_from(address).status_code for address in ("127.0.0.1", "::1", "")] == [200, 200, 200]
    response = asked_from("192.0.2.7")
    assert response.status_code == 403
    assert "recae keys create" in response.json["error"]["message"]


ROLLBACK = "/v1/models/rollback"
"""A POST without a body, which any page may have a browser send."""


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example:8000"}, "foreign_host"),
        ({"Host": "127.0.0.1.evil.example"}, "foreign_host"),
        ({"Host": "192.168.1.5"}, "foreign_host"),
        ({"Host": ""}, "foreign_host"),
        ({"Host": "localhost:8000", "Origin": "https://evil.example"}, "foreign_origin"),
        ({"Host": "localhost:8000", "Origin": "http://localhost:3000"}, "foreign_origin"),
        ({"Host": "localhost:8000", "Origin": "null"}, "foreign_origin"),
    ],
)
def test_without_keys_no_page_of_another_site_is_answered(app, headers, code):
    for method, path in (("POST", ROLLBACK), ("GET", FOR_READERS)):
        response = app.test_client().open(path, method=method, headers=headers)

        assert (response.status_code, response.json["error"]["code"]) == (403, code)


@pytest.mark.parametrize("host", ["localhost:8000", "LOCALHOST", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000"])
def test_without_keys_the_servers_own_page_and_programs_on_this_machine_are_answered(app, host):
    for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host.lower()}"}):
        assert app.test_client().get(FOR_READERS, headers=headers).status_code == 200
        assert app.test_client().post(ROLLBACK, headers=headers).status_code == 409, "reached"


@pytest.mark.parametrize(
    "header", ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"]
)
def test_without_keys_what_a_proxy_passes_on_is_not_answered(app, header):
    """Its address is this machine's, whoever asked it."""
    headers = {"Host": "127.0.0.1:8000", header: "203.0.113.9"}
    for method, path in (("POST", ROLLBACK), ("GET", FOR_READERS)):
        response = app.test_client().open(path, method=method, headers=headers)

        assert (response.status_code, response.json["error"]["code"]) == (403, "forbidden")
        assert f"came through a proxy ({header})" in response.json["error"]["message"]


def test_with_keys_names_and_pages_do_not_matter(locked):
    headers = {
        "Host": "shop.example",
        "Origin": "https://other.example",
        "X-API-Key": READ,
        "Via": "1.1 proxy",
    }

    assert locked.test_client().get(FOR_READERS, headers=headers).status_code == 200


def test_a_created_key_and_a_revoked_one_count_in_a_running_server(recommender, home, monkeypatch):
    monkeypatch.setattr(keys, "LOOK_EVERY_S", 0.0)
    settings = Settings(home=home)
    client = create_app(settings, recommender).test_client()
    assert client.get(FOR_READERS).status_code == 200

    key = KeyFile(settings.keys).create("shop", Role.READ)
    assert client.get(FOR_READERS).status_code == 401
    assert client.get(FOR_READERS, headers={"X-API-Key": key}).status_code == 200
    KeyFile(settings.keys).revoke("shop")
    assert client.get(FOR_READERS, headers={"X-API-Key": key}).status_code == 401


def test_with_a_key_the_server_may_be_reached_from_other_machines(home):
    settings = Settings(home=home, host="0.0.0.0", api_keys=CONFIGURED)

    assert gunicorn_options(settings)["bind"] == ["0.0.0.0:8000"]


def test_no_key_gets_into_a_log_or_an_error(locked, caplog):
    caplog.set_level(logging.DEBUG)
    for headers in ({"X-API-Key": READ}, {"X-API-Key": "w" * 50}, {"Authorization": f"Bearer {READ}"}):
        response = locked.test_client().get(FOR_READERS, headers=headers)
        assert not any(secret in response.text for secret in headers.values())
    assert READ not in caplog.text
    assert "w" * 50 not in caplog.text
    assert READ not in repr(locked.extensions["recae"].settings)
