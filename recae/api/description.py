"""The OpenAPI document for people who read it and for programs that make clients of it, from what SpecTree writes.

Generators of clients send a body's field that has a default whether their caller named it or not, make a class of every
title and of every schema inside another one, and leave out what is not said to be required. So bodies name their
defaults in words, what answers always hold is required, and what occurs twice has a name.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from recae.api.access import ROLES
from recae.api.event_schemas import Event
from recae.api.schemas import ID_SCHEMA, NAMED
from recae.data.ids import LONGEST_ID
from recae.keys import Role

Node: TypeAlias = dict[str, Any]

SCHEMAS: Final = "#/components/schemas/"
SERVERS: Final = [{"url": "http://127.0.0.1:8000", "description": "`recae serve`, without further settings"}]
TAGS: Final = {
    "recommend": "The best items for users, histories and lists.",
    "items": "The catalogue, and what is popular or similar.",
    "events": "What users did: the log that histories are read from.",
    "models": "Stored models: which one serves, and how good it is.",
    "admin": "Nightly runs.",
    "operations": "Probes and this description, which need no key, and metrics.",
}
HEADERS: Final[Node] = {
    "X-Request-ID": {
        "description": "The request's, if it sent a sane one; in the server's log, too.",
        "schema": {"type": "string"},
    },
    "X-Model-Version": {
        "description": "The version that answered, or is in service; `none` before there is one.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
}
WITH_RETRY: Final = {"429", "503"}
NOT_ALWAYS: Final = {("RecommendedItem", "explanation")}
"""What an answer may leave out."""
BARE: Final = {"EventList": "events"}
"""Bodies that may be the list alone, without the object around it, and the field of the list."""
TEXTS: Final = {
    "/v1/evaluation/latest/report": (
        "latest_report",
        "models",
        "text/html",
        "The page that `recae evaluate` wrote beside the newest results.",
        ("404",),
    ),
    "/metrics": ("metrics", "operations", "text/plain", "What this server counts, for Prometheus.", ()),
    "/openapi.json": ("openapi", "operations", "application/json", "This description.", ()),
    "/docs": ("docs", "operations", "text/html", "This description as a page.", ()),
}
"""GET routes whose answers follow no schema of ours: operation, tag, media type, summary, and errors of their own."""
OF_KEYS: Final = ("401", "403", "429")
KEYS: Final = {
    "key": "A key of `recae keys`.",
    "bearer": "The same key, as `Authorization: Bearer`.",
}


def described(found: Node) -> Node:
    """The document as it is served; ``found`` is changed."""
    schemas: Node = found["components"]["schemas"]
    schemas["Event"] = Event.model_json_schema()
    for node in _nodes(found):
        _name_parts(node)
        if isinstance(node.get("title"), str) and node is not found["info"]:
            del node["title"]  # of a schema: its name, or that of its field, once more
        if isinstance(node.get("description"), str):
            node["description"] = re.sub(r"(?<!\n)\n(?!\n)", " ", node["description"])  # lines of our source
    schemas["Id"] = ID_SCHEMA | {"description": "An id. An integer is read as its decimal digits."}
    _of_bodies(schemas, _reached(_bodies(found), schemas))
    for body in _bodies(found):
        _or_the_list_alone(body, schemas)
    _of_answers(schemas, _reached(_responses(found), schemas))
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            _of_operation(operation, ROLES.get(f"{method.upper()} {re.sub('{[^}]*}', '{}', path)}"))
    _share_errors(found)
    for path in TEXTS:
        found["paths"][path] = {"get": _of_text(path)}
    used = _reached([found["paths"], found["components"]["responses"]], schemas)
    found["components"]["schemas"] = {name: schemas[name] for name in sorted(used)}
    found["components"]["headers"] = HEADERS
    for name, scheme in found["components"]["securitySchemes"].items():
        scheme["description"] = KEYS[name]
    found["security"] = [{"key": []}, {"bearer": []}, {}]  # the last one: a server without keys, on loopback
    found["servers"] = SERVERS
    found["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    return found


def _nodes(part: Any) -> Iterator[Node]:
    """Every object of the document, outermost first; no examples."""
    if isinstance(part, dict):
        yield part
        for name, inner in part.items():
            if name not in ("example", "examples", "default"):
                yield from _nodes(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _nodes(inner)


def _name_parts(node: Node) -> None:
    """Put names for ids, and for what stands in the place of a schema."""
    if NAMED in node:
        node["$ref"] = SCHEMAS + node.pop(NAMED)
    of_id = ID_SCHEMA["anyOf"]
    if node.get("anyOf", ())[: len(of_id)] == of_id:
        others = node.pop("anyOf")[len(of_id) :]
        node |= {"anyOf": [{"$ref": f"{SCHEMAS}Id"}, *others]} if others else {"$ref": f"{SCHEMAS}Id"}


def _of_bodies(schemas: Node, names: set[str]) -> None:
    """Defaults in words: a field that is not sent has one."""
    for name in names:
        for field in schemas[name].get("properties", {}).values():
            default = field.pop("default", None)
            if default is not None and default not in ([], {}):
                field["description"] = (
                    f"{field.get('description', '')} Default: {json.dumps(default)}.".strip()
                )


def _or_the_list_alone(body: Node | None, schemas: Node) -> None:
    """Describe a body that needs no object around its list in both ways."""
    for content in (body or {"content": {}})["content"].values():
        name = str(content["schema"].get("$ref", "")).removeprefix(SCHEMAS)
        if name in BARE:
            alone = {
                key: schemas[name]["properties"][BARE[name]][key] for key in ("type", "items", "minItems")
            }
            content["schema"] = {"anyOf": [content["schema"], alone]}


def _of_answers(schemas: Node, names: set[str]) -> None:
    """Whatever the server sends, it sends always."""
    for name in names:
        fields = schemas[name].get("properties", {})
        for field in fields.values():
            field.pop("default", None)
        if fields:
            schemas[name]["required"] = [field for field in fields if (name, field) not in NOT_ALWAYS]


def _of_operation(operation: Node, role: Role | None) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["schema"] = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}
            parameter["description"] = "An id; what a URL cannot hold is percent-encoded."
    needs = (
        ""
        if role is None
        else f"Where keys are set up, it takes one of the role `{role.name.lower()}`, or above."
    )
    text = "\n\n".join(part for part in (operation.pop("description", ""), needs) if part)
    if text:
        operation["description"] = text
    operation.pop("security", None)
    if role is None:
        operation["security"] = []
    for status, response in operation["responses"].items():
        named = ["X-Request-ID", "X-Model-Version", *(["Retry-After"] if status in WITH_RETRY else [])]
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in named}


def _of_text(path: str) -> Node:
    """The operation of a page, of metrics, or of this description; its errors are those that other operations share."""
    name, tag, media_type, summary, errors = TEXTS[path]
    role = ROLES[f"GET {path}"]
    body = {"type": "object", "additionalProperties": True} if "json" in media_type else {"type": "string"}
    answer: Node = {"description": "The answer", "content": {media_type: {"schema": body}}}
    operation: Node = {"summary": summary, "operationId": name, "tags": [tag], "responses": {"200": answer}}
    _of_operation(operation, role)
    for status in sorted((*errors, *(OF_KEYS if role is not None else ()), "500")):
        operation["responses"][status] = {"$ref": f"#/components/responses/Error{status}"}
    return operation


def _share_errors(found: Node) -> None:
    """Each kind of error is written once: they are the same for all operations."""
    shared: Node = found["components"].setdefault("responses", {})
    for operations in found["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if not status.startswith("2"):
                    shared[f"Error{status}"] = response
                    operation["responses"][status] = {"$ref": f"#/components/responses/Error{status}"}
    found["components"]["responses"] = dict(sorted(shared.items()))


def _bodies(found: Node) -> list[Any]:
    return [operation.get("requestBody") for path in found["paths"].values() for operation in path.values()]


def _responses(found: Node) -> list[Any]:
    return [operation["responses"] for path in found["paths"].values() for operation in path.values()]


def _reached(part: Any, schemas: Node) -> set[str]:
    """Names of the schemas that a part of the document comes to."""
    names: set[str] = set()
    waiting = [part]
    while waiting:
        for node in _nodes(waiting.pop()):
            name = str(node.get("$ref", "")).removeprefix(SCHEMAS)
            if name in schemas and name not in names:
                names.add(name)
                waiting.append(schemas[name])
    return names
