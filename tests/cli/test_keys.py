"""`recae keys` from the outside."""

import json

from click.testing import CliRunner

from recae.cli import cli
from recae.keys import KeyFile, KeyRing


def run(*arguments):
    return CliRunner().invoke(cli, ["keys", *arguments])


def test_a_key_is_shown_once_listed_without_it_and_revoked(home):
    created = run("create", "shop", "--role", "write")
    assert created.exit_code == 0, created.output
    key = created.stdout.strip()
    assert "not shown again" in created.stderr
    assert KeyRing(KeyFile(home / "keys.json")).find(key).name == "shop"

    assert run("list").stdout.startswith("shop  write  20")
    listed = run("list", "--json").stdout
    assert [(entry["name"], entry["role"]) for entry in json.loads(listed)] == [("shop", "write")]
    assert key not in run("list").output + listed

    assert run("revoke", "shop").stdout == "revoked shop\n"
    assert "recae keys create" in run("list").stdout


def test_mistakes_are_one_line_that_says_what_to_do(home):
    run("create", "shop")

    for arguments, said in [
        (("create", "shop"), "choose another name"),
        (("create", "a b"), "cannot name a key"),
        (("revoke", "sop"), "there are: shop"),
        (("create", "x", "--role", "king"), "'read', 'write', 'admin'"),
    ]:
        result = run(*arguments)
        assert result.exit_code in (1, 2)
        assert said in result.stderr
