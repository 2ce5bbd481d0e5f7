"""What holds for every answer, and for the description of them all."""

import json
import re
import tempfile
from pathlib import Path
from urllib.parse import quote

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recae.api
from recae.api import create_app
from recae.api.access import ROLES
from recae.api.errors import CODES
from recae.config import Settings
from tests.tastes import two_tastes

OPENAPI = Path(__file__).parents[2] / "api" / "openapi.json"
README = OPENAPI.with_name("README.md").read_text(encoding="utf-8")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["user_id", "items", "n", "offset", "exclude_seen", "filter"])
ITEM = st.fixed_dictionaries({"item_id": JSON}, optional={"weight": JSON, "timestamp": JSON})


def test_the_committed_description_is_what_the_server_says(client):
    committed = json.loads(OPENAPI.read_text(encoding="utf-8"))

    assert client.get("/openapi.json").json == committed, "run: python api/make_openapi.py"


def test_every_route_is_described(app, client):
    described = client.get("/openapi.json").json["paths"]
    routes = {
        str(rule).replace("<id:", "{").replace("<", "{").replace(">", "}")
        for rule in app.url_map.iter_rules()
    }

    assert set(described) == routes - {"/", "/docs/style.css", "/static/{path:filename}"}


def test_messages_name_what_the_caller_sent_and_nothing_of_the_inside(client):
    unknown = client.get("/v1/items/nope").json["error"]
    empty = client.post("/v1/events", json=[]).json["error"]

    assert (unknown["code"], unknown["field"]) == ("unknown_item", "item_id")
    assert unknown["message"].startswith("item 'nope' is neither stored nor known")
    assert (empty["code"], empty["field"]) == ("invalid_field", "events")


def test_every_code_of_an_error_is_in_the_description(client):
    sources = [path.read_text(encoding="utf-8") for path in Path(recae.api.__file__).parent.glob("*.py")]
    raised = {code for text in sources for code in re.findall(r'HTTPStatus\.\w+,\s*"(\w+)"', text)}
    described = client.get("/openapi.json").json["components"]["schemas"]["ErrorDetail"]["properties"]["code"]

    assert len(raised) > 10
    assert raised | set(CODES.values()) <= set(re.findall(r"`(\w+)`", described["description"]))


def test_the_readme_lists_every_code_under_its_status(client):
    rows = re.findall(r"^\| (\d{3}[\d, ]*) \| (`\w+`[^|]*) \|", README, flags=re.MULTILINE)
    described = client.get("/openapi.json").json["components"]["schemas"]["ErrorDetail"]["properties"]["code"]
    parts = re.findall(r"(\d{3}[\d, ]*): (`.*?`)\.", described["description"])

    def codes_by_status(lines):
        pairs = [
            (status, code)
            for statuses, codes in lines
            for status in re.findall(r"\d{3}", statuses)
            for code in re.findall(r"`(\w+)`", codes)
        ]
        assert len(pairs) == len(set(pairs)) > 20
        return set(pairs)

    assert codes_by_status(rows) == codes_by_status(parts)


def test_the_readme_lists_every_route_under_its_role():
    rows = re.findall(r"^\| (`\w+`|none) \| .* \| (`[A-Z]+ /.*) \|$", README, flags=re.MULTILINE)
    listed = {
        place: role.strip("`") for role, places in rows for place in re.findall(r"`([A-Z]+ /[^`]*)`", places)
    }
    assets = {"GET /docs/style.css", "GET /static/{}"}

    assert listed == {
        place: "none" if role is None else str(role) for place, role in ROLES.items() if place not in assets
    }


OFFERED = {
    "user_id": ["u", 7, None, 7.5, True],
    "event_type": [None, "like", 7, 7.5, True, "x" * 257],
    "value": [None, 5, -0.5, True, "five"],
    "timestamp": [None, 1_700_000_000, 1.5, "2024-01-01T00:00:00Z", True, [1]],
    "event_id": [None, "e", 7, 7.5, True, "x" * 257],
    "recommendation_id": [None, "r_1", 7, 7.5, True, "x" * 257],
    "unheard_of": ["x"],
}


@pytest.mark.parametrize("field", OFFERED)
def test_an_event_is_described_as_what_the_log_takes(client, field):
    components = client.get("/openapi.json").json["components"]
    described = jsonschema_rs.validator_for({"$ref": "#/components/schemas/Event", "components": components})

    for value in OFFERED[field]:
        event = {"user_id": "u", "item_id": "a"} | {field: value}
        stored = client.post("/v1/events", json=[event]).json
        assert described.is_valid(event) == (not stored["rejected"]), (event, stored)


def test_bodies_leave_their_defaults_to_the_server_and_answers_name_what_they_always_hold(client):
    """A client that is generated sends each default it knows, and does not expect what is not required."""
    schemas = client.get("/openapi.json").json["components"]["schemas"]
    fields = {
        (name, field): part
        for name, each in schemas.items()
        for field, part in each.get("properties", {}).items()
    }
    bodies = {"TopNRequest", "RankRequest", "BatchRequest", "HistoryItem", "Filter", "ItemBody", "ItemChange"}
    bodies |= {"Event", "EventList"}

    assert not [
        place for place, part in fields.items() if "default" in part or isinstance(part.get("title"), str)
    ]
    assert "Default: 10." in fields["TopNRequest", "n"]["description"]
    optional = {(name, field) for name, field in fields if field not in schemas[name].get("required", [])}
    assert {place for place in optional if place[0] not in bodies} == {("RecommendedItem", "explanation")}


def test_the_role_that_an_operation_needs_is_in_its_description(client):
    paths = client.get("/openapi.json").json["paths"]

    assert "role `read`" in paths["/v1/popular"]["get"]["description"]
    assert "role `admin`" in paths["/v1/models"]["get"]["description"]
    assert paths["/health/live"]["get"]["security"] == []


def test_every_answer_carries_the_model_version_and_a_request_id(client):
    for path in ("/v1/users/1/recommendations", "/health/live", "/nowhere", "/v1/items/q/similar"):
        headers = client.get(path).headers
        assert headers["X-Model-Version"] == "v1", path
        assert len(headers["X-Request-ID"]) == 32, path


def test_the_callers_request_id_is_kept_if_it_is_sane(client):
    def echoed(sent):
        return client.get("/health/live", headers={"X-Request-ID": sent}).headers["X-Request-ID"]

    assert echoed("job-7.part_2") == "job-7.part_2"
    for strange in ("two words", "é", "x" * 129, "<script>"):
        assert echoed(strange) != strange


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/users//recommendations", 404, "not_found"),
        ("GET", "/v1/recommendations", 405, "method_not_allowed"),
        ("POST", "/v1/recommendation", 404, "not_found"),
        ("DELETE", "/v1/popular", 405, "method_not_allowed"),
    ],
)
def test_errors_of_flask_itself_have_the_same_shape(client, method, path, status, code):
    response = client.open(path, method=method)

    assert (response.status_code, response.mimetype) == (status, "application/json")
    assert response.json["error"]["code"] == code
    assert ("Allow" in response.headers) == (status == 405)


def test_a_bug_is_500_without_a_word_of_its_own(app, client, recommender, monkeypatch, caplog):
    monkeypatch.setattr(recommender.model, "score_row", lambda _columns, _values: 1 / 0)
    response = client.get("/v1/users/1/recommendations", headers={"X-Request-ID": "the-bad-one"})

    assert response.status_code == 500
    assert response.json["error"]["code"] == "internal_error"
    assert "ZeroDivision" not in response.text
    assert "the-bad-one" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_similar_items_come_without_the_item_itself(client):
    body = client.get("/v1/items/a/similar?n=2").json

    assert body["title"] == "Alien (1979)"
    assert {item["item_id"] for item in body["items"]} == {"b", "c"}
    assert body["items"][0]["title"] is not None
    assert body["short"] is None
    assert client.get("/v1/items/a/similar?n=5").json["short"] is None


def test_similar_to_an_unknown_item_is_404(client):
    error = client.get("/v1/items/q/similar").json["error"]

    assert (error["code"], error["field"]) == ("unknown_item", "item_id")


@pytest.mark.parametrize("query", ["n=0", "n=6", "m=1"])
def test_similar_refuses_a_query_it_cannot_use(client, query):
    assert client.get(f"/v1/items/a/similar?{query}").status_code == 422


def test_ready_and_live_say_so(client):
    assert client.get("/health/live").json == {"status": "live"}
    assert client.get("/health/ready").json == {"status": "ready", "model_version": "v1", "problem": None}


FOLDER = tempfile.TemporaryDirectory(prefix="recae-fuzzed-")  # made before any fixture
FUZZED = create_app(Settings(home=Path(FOLDER.name)), two_tastes()).test_client()


@given(st.dictionaries(KEYS, JSON | st.lists(ITEM, max_size=3)))
def test_whatever_is_posted_the_answer_is_json_and_never_a_bug(body):
    text = json.dumps(body).encode()
    response = FUZZED.post("/v1/recommendations", data=text, content_type="application/json")

    assert response.status_code in {200, 400, 422}, response.text
    json.loads(response.data.decode("utf-8"))


@given(st.binary(max_size=50))
def test_whatever_bytes_are_posted_the_answer_is_json_and_never_a_bug(data):
    response = FUZZED.post("/v1/recommendations", data=data, content_type="application/json")

    assert response.status_code in {200, 400, 422}, response.text


def addresses():
    """Method and path of every operation but the one that starts a process."""
    described = json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"]
    return [
        (method.upper(), path)
        for path, operations in described.items()
        for method in operations
        if path != "/v1/admin/retrain"
    ]


@pytest.mark.parametrize(("method", "path"), addresses())
@settings(max_examples=8)
@given(st.text(min_size=1, max_size=20), st.text(max_size=20), JSON | st.binary(max_size=20))
def test_on_every_route_whatever_id_query_and_body_arrive_nothing_is_a_bug(method, path, part, query, body):
    response = FUZZED.open(
        re.sub(r"{\w+}", quote(part, safe=""), path),
        method=method,
        query_string=query,
        data=body if isinstance(body, bytes) else json.dumps(body).encode(),
        content_type="application/json",
    )

    assert response.status_code < 500 or response.json["error"]["code"] == "not_ready", response.text
    if response.status_code >= 400:
        assert set(response.json) == {"error", "request_id"}


def test_the_page_of_the_description_shows_every_operation_without_scripts_or_other_sites(client):
    page = client.get("/docs")
    described = client.get("/openapi.json").json

    assert (page.status_code, page.mimetype) == (200, "text/html")
    for path, operations in described["paths"].items():
        assert f"<code>{path}</code>" in page.text
        for operation in operations.values():
            assert f'id="{operation["operationId"]}"' in page.text
    assert "<script" not in page.text
    assert "://" not in page.text
    assert '<link rel="icon" href="data:,">' in page.text, "or browsers ask for /favicon.ico"
    assert client.get("/docs/style.css").mimetype == "text/css"


@pytest.mark.parametrize("ending", ["similar", "recommendations", "events"])
def test_no_id_ends_in_the_name_of_what_an_id_has(client, ending):
    owner = "items" if ending == "similar" else "users"

    assert client.delete(f"/v1/{owner}/a/{ending}").status_code == 405
