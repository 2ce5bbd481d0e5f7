"""Settings: defaults, then `recae.toml`, then `RECAE_*` variables, then options of the command line.

A key or variable that means nothing is an error: a misspelt limit must not silently stay at its default.
"""

import difflib
import os
import re
import tomllib
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from recae.errors import ConfigError
from recae.retrain_settings import RetrainSettings

CONFIG_VARIABLE = "RECAE_CONFIG"
DEFAULT_FILE = Path("recae.toml")
DATABASES = ("sqlite:///", "postgresql://", "postgresql+psycopg://")

SERVICE_LINK = re.compile(
    r"RECAE(_[A-Z0-9_]+)?_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""Variables that Kubernetes, and Docker's links, set in every container about a service called recae, or recae-something."""
SERVICE_PORT = re.compile(r"RECAE(_[A-Z0-9_]+)?_PORT")
SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+", re.IGNORECASE)
"""What they put into RECAE_PORT, which is no number and so never meant as the setting."""


class Experiment(BaseModel):
    """A split of the users between models; each user keeps their side as long as name and shares stay."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64)
    shares: dict[str, float] = Field(min_length=2)
    """Model, as a request would name it -> share of the users; together 1."""

    @field_validator("shares")
    @classmethod
    def _shares_of_one(cls, shares: dict[str, float]) -> dict[str, float]:
        if any(not 0 <= share <= 1 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f"expected shares from 0 to 1 that add up to 1, found {shares}")
        return shares


SECRETIVE = frozenset({"events", "api_keys", "retrain.notify.webhook"})
"""Settings that may hold a password or a token: no message repeats what they are."""


class Settings(BaseSettings):
    """What an operator can set. Read them with `load_settings`, which names the place of a mistake."""

    model_config = SettingsConfigDict(env_prefix="RECAE_", extra="forbid", frozen=True)

    home: Path = Path(".recae")
    """Folder of all state: the event log, the model store and cached results. Relative to the working folder."""

    events: str | None = None
    """Database of the event log and the items, as a URL: postgresql://user@host/name, or sqlite:///file.
    Default: events.db in the home folder."""

    max_clock_skew_s: float = Field(300.0, ge=0)
    """How far in the future an event's time may lie, in seconds, since clocks differ; later ones are refused."""

    compact_after_days: float | None = Field(None, gt=0)
    """Age in days at which events move from the database into Parquet files, with the nightly run. Default: never."""

    retention_days: float | None = Field(None, gt=0)
    """Age in days at which events are deleted, with the nightly run. Default: never."""

    data: Path = Path("../shared/data")
    """Folder of the public benchmark data sets. Relative to the working folder."""

    host: str = "127.0.0.1"
    """Address to serve on."""

    port: int = Field(8000, ge=1, le=65535)
    """TCP port to serve on."""

    workers: PositiveInt | None = None
    """Serving processes; each holds the model. Default: one per processor core."""

    threads: PositiveInt | None = None
    """Threads for training and evaluation. Default: one per processor core. A serving process uses 1."""

    max_body_bytes: PositiveInt = 2**20
    """Largest request body, in bytes."""

    max_history: PositiveInt = 10_000
    """Most items in one request's history, and in each of its item filters."""

    max_n: PositiveInt = 1_000
    """Most items in one answer."""

    max_batch: PositiveInt = 1_000
    """Most parts of one batch of recommendations."""

    reload_s: float = Field(0.5, gt=0)
    """How often a server looks for a newly promoted model and for changed items, in seconds."""

    named_models: dict[str, str] = {}
    """Name -> version of the model store: what a request may ask for with "model", beside "current" and versions."""

    max_models: PositiveInt = 2
    """Most models a serving process keeps in memory beside the one in service; the one not used longest goes."""

    known_histories: NonNegativeInt = 10_000
    """Users whose history a serving process remembers, checked against the log in each request; of 100 items, a
    history takes 1 KB, and one of more than 1,000 items is not remembered."""

    experiment: Experiment | None = None
    """Users split between models: {"name": "vae", "shares": {"current": 0.5, "challenger": 0.5}}."""

    retrain: RetrainSettings = RetrainSettings()
    """The nightly run: a table of its own, see :mod:`recae.retrain_settings`."""

    api_keys: SecretStr = SecretStr("")
    """Keys beside those of `recae keys`, as name:role:key with commas between; roles are read, write and admin.
    Meant for RECAE_API_KEYS, where a platform hands secrets over as variables."""

    rate_limit_per_s: float | None = Field(None, gt=0)
    """Requests a key may make per second, in each serving process. Default: no limit."""

    burst: PositiveInt = 20
    """Requests a key may make at once before the limit counts."""

    request_timeout_s: float = Field(15.0, gt=0)
    """Longest time from the first byte of a request to the last of its answer, in seconds; slower clients are cut off."""

    log_format: Literal["text", "json", "off"] = "text"
    """How a server writes its log: lines for people, JSON for programs; "off" leaves out the line of each request."""

    tracing: bool = False
    """Send spans of requests with OpenTelemetry, which has to be installed beside recae."""

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, host: str) -> str:
        return host.removeprefix("[").removesuffix("]")  # a URL's way to write an IPv6 address

    @field_validator("events")
    @classmethod
    def _known_database(cls, events: str | None) -> str | None:
        if events is not None and not events.startswith(DATABASES):
            scheme, separator, _ = events.partition("://")
            found = scheme + separator if separator else "no scheme"  # the rest may hold a password
            raise ValueError(f"expected a URL that starts with {' or '.join(DATABASES)}, found {found}")
        return events

    @property
    def events_url(self) -> str:
        """Database of the event log: the one named, or SQLite in the home folder."""
        return self.events or f"sqlite:///{self.home / 'events.db'}"

    @property
    def events_archive(self) -> Path:
        """Folder of the event log's older part, as Parquet."""
        return self.home / "events"

    @property
    def named_versions(self) -> frozenset[str]:
        """Versions of the model store that requests may be answered by, beside the one in service."""
        shares = self.experiment.shares if self.experiment is not None else {}
        named = {self.named_models.get(name, name) for name in shares}
        return frozenset((named | set(self.named_models.values())) - {"current"})

    @property
    def keys(self) -> Path:
        """File of the API keys, hashed."""
        return self.home / "keys.json"

    @property
    def models(self) -> Path:
        """Folder of the model store."""
        return self.home / "models"

    @property
    def runs(self) -> Path:
        """Folder of the records of nightly runs."""
        return self.home / "runs"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings' signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options win over variables, variables over the file; what a cluster says of its services is none of them."""
        if isinstance(env_settings, EnvSettingsSource):
            env_settings.env_vars = {
                name: value
                for name, value in env_settings.env_vars.items()
                if not _is_of_a_service(name, value or "")
            }
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file())


def load_settings(**options: Any) -> Settings:
    """Read all settings; options that are None count as not given.

    Raises:
        ConfigError: for a key that does not exist or a value that cannot be used, naming where it stands.
    """
    given = {name: value for name, value in options.items() if value is not None}
    file = config_file()
    if CONFIG_VARIABLE in os.environ and not file.is_file():
        raise ConfigError(f"{CONFIG_VARIABLE} names {str(file)!r}, which is no file; correct or unset it")
    for variable, value in os.environ.items():
        if not _is_of_a_service(variable, value):
            _refuse_unknown_variable(variable)
    try:
        return Settings(**given)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(
            "; ".join(_explain(dict(found), given, file) for found in error.errors())
        ) from error


def config_file() -> Path:
    """The settings file: what RECAE_CONFIG names, or `recae.toml` in the working folder (which may be absent)."""
    return Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_FILE))


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # any other name may resolve to anything
        return False


def _is_of_a_service(variable: str, value: str) -> bool:
    """Whether a variable tells where a service of the cluster is, which says nothing to recae itself."""
    name = variable.upper()
    if SERVICE_LINK.fullmatch(name):
        return True
    return SERVICE_PORT.fullmatch(name) is not None and SERVICE_ADDRESS.fullmatch(value) is not None


def _refuse_unknown_variable(variable: str) -> None:
    name = variable.upper()
    if not name.startswith("RECAE_") or name == CONFIG_VARIABLE:
        return
    known = [f"RECAE_{field.upper()}" for field in Settings.model_fields]
    if name not in known:
        raise ConfigError(
            f"the variable {variable} means nothing to recae{_suggest(name, [*known, CONFIG_VARIABLE])}"
        )


def _explain(found: dict[str, Any], given: dict[str, Any], file: Path) -> str:
    *tables, name = map(str, found["loc"] or ("settings",))
    key = ".".join([*tables, name])
    if found["type"] == "extra_forbidden":
        return f"{file}: there is no setting {key!r}{_suggest(name, _settings_of(tables))}"
    top = (tables or [name])[0]
    variable = f"RECAE_{top.upper()}"
    in_environment = f"the variable {variable}" if variable in os.environ else f"{file}: {key}"
    place = f"option {key}" if top in given else in_environment
    is_value = "" if key in SECRETIVE else f" is {found['input']!r}"
    return f"{place}{is_value}: {found['msg'][0].lower()}{found['msg'][1:]}"


def _settings_of(tables: list[str]) -> list[str]:
    """Names of the settings of a table within tables."""
    model: Any = Settings
    for table in tables:
        model = getattr(model.model_fields[table].annotation, "model_fields", None) and (
            model.model_fields[table].annotation
        )
        if model is None:
            return []
    return list(model.model_fields)


def _suggest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(sorted(known))}"
