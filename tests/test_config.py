"""Settings: which source wins, and that no mistake stays silent."""

from pathlib import Path

import pytest

from recae.config import is_loopback, load_settings
from recae.errors import ConfigError


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_anything_set_the_defaults_hold(monkeypatch):
    monkeypatch.delenv("RECAE_HOME")
    settings = load_settings()

    assert (settings.home, settings.models) == (Path(".recae"), Path(".recae/models"))
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.max_body_bytes, settings.max_history, settings.max_n) == (1_048_576, 10_000, 1_000)


def test_options_win_over_variables_and_variables_over_the_file(working_folder, monkeypatch):
    (working_folder / "recae.toml").write_text("port = 1001\nmax_n = 11\nmax_history = 12\n")
    monkeypatch.setenv("RECAE_PORT", "1002")
    monkeypatch.setenv("RECAE_MAX_N", "21")
    settings = load_settings(port=1003, max_n=None)

    assert (settings.port, settings.max_n, settings.max_history) == (1003, 21, 12)


def test_the_file_may_lie_elsewhere(working_folder, monkeypatch):
    (working_folder / "other.toml").write_text("port = 1001\n")
    monkeypatch.setenv("RECAE_CONFIG", "other.toml")

    assert load_settings().port == 1001


def test_a_named_file_that_is_missing_is_an_error(monkeypatch):
    monkeypatch.setenv("RECAE_CONFIG", "nowhere.toml")

    with pytest.raises(ConfigError, match=r"RECAE_CONFIG names 'nowhere.toml', which is no file"):
        load_settings()


def test_a_misspelt_key_is_an_error_with_the_right_spelling(working_folder):
    (working_folder / "recae.toml").write_text("prot = 1001\n")

    with pytest.raises(ConfigError, match=r"recae.toml: there is no setting 'prot'; did you mean port"):
        load_settings()


def test_a_misspelt_variable_is_an_error_with_the_right_spelling(monkeypatch):
    monkeypatch.setenv("RECAE_PROT", "1001")

    with pytest.raises(ConfigError, match=r"RECAE_PROT means nothing to recae; did you mean RECAE_PORT"):
        load_settings()


LINKS = {
    "RECAE_PORT": "tcp://10.96.0.7:80",
    "RECAE_PORT_80_TCP": "tcp://10.96.0.7:80",
    "RECAE_PORT_80_TCP_ADDR": "10.96.0.7",
    "RECAE_PORT_80_TCP_PORT": "80",
    "RECAE_PORT_80_TCP_PROTO": "tcp",
    "RECAE_SERVICE_HOST": "10.96.0.7",
    "RECAE_SERVICE_PORT": "80",
    "RECAE_SERVICE_PORT_HTTP": "80",
}
"""What Kubernetes sets in every container of a namespace that has a service called recae."""


@pytest.mark.parametrize("service", ["RECAE", "RECAE_BLUE"])
def test_a_cluster_that_tells_where_its_services_are_says_nothing_to_recae(service, monkeypatch):
    for variable, value in LINKS.items():
        monkeypatch.setenv(variable.replace("RECAE", service), value)

    assert load_settings().port == 8000


def test_a_port_that_is_neither_a_number_nor_a_services_address_stays_a_mistake(monkeypatch):
    monkeypatch.setenv("RECAE_PORT", "http")

    with pytest.raises(ConfigError, match=r"the variable RECAE_PORT is 'http'"):
        load_settings()


def test_a_key_like_no_other_is_answered_with_all_there_are(working_folder):
    (working_folder / "recae.toml").write_text("zzz = 1\n")

    with pytest.raises(
        ConfigError,
        match=r"there are: api_keys, burst, compact_after_days, data, events, experiment, home, host",
    ):
        load_settings()


@pytest.mark.parametrize(
    ("toml", "variable", "option", "words"),
    [
        ('port = "high"', None, None, "recae.toml: port is 'high'"),
        (
            "",
            "70000",
            None,
            "the variable RECAE_PORT is '70000': input should be less than or equal to 65535",
        ),
        ("", None, 0, "option port is 0: input should be greater than or equal to 1"),
        ("port = ", None, None, "recae.toml is not valid TOML"),
    ],
)
def test_a_value_that_cannot_be_used_names_its_place(
    working_folder, monkeypatch, toml, variable, option, words
):
    (working_folder / "recae.toml").write_text(toml)
    if variable:
        monkeypatch.setenv("RECAE_PORT", variable)

    with pytest.raises(ConfigError, match=words):
        load_settings(port=option)


@pytest.mark.parametrize(
    ("toml", "variable", "place"),
    [
        ("", "postgres://bob:s3cret@db/shop", "the variable RECAE_EVENTS: "),
        ('events = "postgres://bob:s3cret@db/shop"', None, "recae.toml: events: "),
        ('[retrain.notify]\nwebhook = "hooks.example/s3cret"', None, "recae.toml: retrain.notify.webhook: "),
        ('api_keys = ["shop:read:s3cret"]', None, "recae.toml: api_keys: "),
    ],
)
def test_what_may_hold_a_secret_is_not_repeated(working_folder, monkeypatch, toml, variable, place):
    (working_folder / "recae.toml").write_text(toml)
    if variable:
        monkeypatch.setenv("RECAE_EVENTS", variable)

    with pytest.raises(ConfigError) as caught:
        load_settings()

    assert place in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_an_ipv6_host_may_be_written_as_in_a_url():
    assert load_settings(host="[::1]").host == "::1"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_addresses_are_known(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.1", "example.org", "localhost.example.org"])
def test_any_other_host_may_be_reached_from_outside(host):
    assert not is_loopback(host)


def test_the_event_log_is_a_file_in_the_home_folder_unless_a_database_is_named(monkeypatch):
    monkeypatch.setenv("RECAE_HOME", "state")
    assert load_settings().events_url == "sqlite:///state/events.db"
    assert load_settings().events_archive == Path("state/events")

    monkeypatch.setenv("RECAE_EVENTS", "postgresql://recae@db/events")
    assert load_settings().events_url == "postgresql://recae@db/events"


def test_an_event_log_in_an_unknown_database_is_an_error(monkeypatch):
    monkeypatch.setenv("RECAE_EVENTS", "mysql://db/events")

    with pytest.raises(ConfigError, match=r"RECAE_EVENTS: .*starts with sqlite:/// .*, found mysql://$"):
        load_settings()
