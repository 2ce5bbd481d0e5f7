"""API keys: hashed in a file of the owner's own, known again, revoked, and read anew when the file changes."""

import hmac
import json
import stat
import threading

import pytest

from recae import keys as module
from recae.errors import ConfigError
from recae.keys import PREFIX, KeyFile, KeyRing, Role, digest_of

SECRET = "s" * 40


@pytest.fixture
def file(tmp_path):
    return KeyFile(tmp_path / "home" / "keys.json")


@pytest.fixture(autouse=True)
def look_at_once(monkeypatch):
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)


def test_a_key_is_known_again_and_its_file_holds_only_the_hash_for_its_owner(file):
    key = file.create("shop", Role.WRITE)
    text = file.path.read_text()

    assert key.startswith(PREFIX)
    assert len(key) > 40
    assert key not in text
    assert digest_of(key) in text
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    found = KeyRing(file).find(key)
    assert (found.name, found.role) == ("shop", Role.WRITE)


@pytest.mark.parametrize("sent", ["", "recae_", SECRET, "é\n", "\udcff", digest_of("x"), "x" * 100_000])
def test_anything_else_is_no_key(file, sent):
    file.create("shop", Role.READ)

    assert KeyRing(file).find(sent) is None


def test_the_hash_itself_opens_nothing(file):
    key = file.create("shop", Role.ADMIN)

    assert KeyRing(file).find(digest_of(key)) is None


def test_only_the_constant_time_comparison_lets_a_key_in(file, monkeypatch):
    key = file.create("shop", Role.READ)
    ring = KeyRing(file)
    assert ring.find(key) is not None
    monkeypatch.setattr(hmac, "compare_digest", lambda _found, _sent: False)

    assert ring.find(key) is None


def test_two_keys_are_never_the_same_and_roles_include_those_before_them(file):
    assert len({file.create(f"k{number}", Role.READ) for number in range(20)}) == 20
    assert Role.ADMIN > Role.WRITE > Role.READ


def test_a_ring_follows_the_file_and_a_revoked_last_key_does_not_open_the_server(file):
    ring = KeyRing(file)
    assert not ring.protected

    key = file.create("shop", Role.READ)
    assert ring.protected
    assert ring.find(key).name == "shop"

    file.revoke("shop")
    assert ring.find(key) is None
    assert ring.protected
    file.path.unlink()
    assert ring.protected
    assert not KeyRing(file).protected, "without the file a new server is as at first"


def test_a_damaged_file_changes_nothing_in_a_running_server_and_stops_a_new_one(file, caplog):
    key = file.create("shop", Role.READ)
    ring = KeyRing(file)
    file.path.write_text("{")

    assert ring.find(key).name == "shop"
    assert caplog.text.count("is damaged") == 1
    assert "the keys before it count on, revoked ones too" in caplog.text
    with pytest.raises(ConfigError, match=r"keys.json is damaged .* `recae keys create`"):
        KeyRing(file)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format_version": 2, "keys": []}',
        '{"format_version": 1, "keys": [{"role": "king"}]}',
        "\xff",
    ],
)
def test_a_file_of_another_form_is_refused(file, content):
    file.path.parent.mkdir()
    file.path.write_text(content, encoding="latin-1")

    with pytest.raises(ConfigError, match="is damaged"):
        file.read()


def test_writers_at_once_lose_no_key(file):
    def create(number):
        file.create(f"k{number}", Role.READ)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {key.name for key in file.read()} == {f"k{number}" for number in range(12)}
    assert [path.name for path in file.path.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "../x", "x" * 65, "-x", "é"])
def test_a_name_that_could_disturb_a_log_is_refused(file, name):
    with pytest.raises(ConfigError, match="cannot name a key"):
        file.create(name, Role.READ)


def test_a_name_is_given_once_and_a_revoked_one_must_exist(file):
    file.create("shop", Role.READ)

    with pytest.raises(ConfigError, match="a key named 'shop' already"):
        file.create("shop", Role.ADMIN)
    with pytest.raises(ConfigError, match=r"no key named 'sop' .* there are: shop"):
        file.revoke("sop")


def test_keys_of_the_settings_count_beside_those_of_the_file(file):
    stored = file.create("shop", Role.READ)
    ring = KeyRing(file, f" job:admin:{SECRET} , other:read:{'o' * 32},")

    assert len(ring) == 3
    assert ring.find(SECRET).role is Role.ADMIN
    assert ring.find(stored).role is Role.READ
    assert KeyRing(None, f"job:admin:{SECRET}").protected


@pytest.mark.parametrize(
    ("configured", "complaint"),
    [
        ("secret-without-a-role-that-is-long-enough", "entry 1 is not of the form"),
        (f"a:read:{SECRET},b:read:short-secret", "entry 2 is not of the form .* `openssl rand"),
        (f"a:king:{SECRET}", "there is no role 'king'; roles are read, write .* and admin"),
        (f"a:read:{SECRET},a:read:{SECRET}x", "not all different"),
        (f"a b:read:{SECRET}", "entry 1 is not of the form"),
        (f"{SECRET}!:read:{SECRET}", "entry 1 is not of the form"),
    ],
)
def test_settings_that_are_no_keys_are_refused_without_repeating_the_secret(configured, complaint):
    with pytest.raises(ConfigError, match=complaint) as raised:
        KeyRing(None, configured)

    assert "secret" not in str(raised.value)
    assert SECRET not in str(raised.value)


def test_the_stored_form_is_as_documented(file):
    file.create("shop", Role.READ)
    stored = json.loads(file.path.read_text())

    assert stored["format_version"] == 1
    assert set(stored["keys"][0]) == {"name", "role", "sha256", "created"}
    assert stored["keys"][0]["role"] == "read"
