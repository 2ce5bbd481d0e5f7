"""The files of api/deploy say what the code does: ports, users, paths, variables and commands exist."""

import configparser
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import recae
from recae.api import create_app
from recae.api.access import OPEN, role_of
from recae.api.server import gunicorn_options
from recae.cli import cli
from recae.config import CONFIG_VARIABLE, Settings
from tests.tastes import two_tastes

FOLDER = Path(__file__).parents[2] / "api" / "deploy"
NIGHTLY = {"retrain", "schedule"}
"""Commands of the nightly training."""
PORT = Settings.model_fields["port"].default


def text(name):
    return (FOLDER / name).read_text(encoding="utf-8")


def documents(name):
    return list(yaml.safe_load_all(text(name)))


def unit(name):
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str
    parser.read_string(text(name))
    return parser


def check_command(words):
    """That ``recae`` has the command and its options."""
    assert Path(words[0]).name == "recae"
    if words[1] in cli.commands:
        cli.commands[words[1]].make_context(words[1], list(words[2:]))
    else:
        assert words[1] in NIGHTLY


def kinds():
    return {document["kind"]: document for document in documents("kubernetes.yaml")}


def pods():
    found = kinds()
    return [
        found["Deployment"]["spec"]["template"]["spec"],
        found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"],
    ]


def instruction(name):
    return re.findall(rf"^{name} (.+)$", text("Dockerfile"), flags=re.MULTILINE)


def test_every_variable_in_any_file_is_a_setting():
    known = {f"RECAE_{field.upper()}" for field in Settings.model_fields} | {CONFIG_VARIABLE}
    named = {name for file in FOLDER.iterdir() for name in re.findall(r"\bRECAE_[A-Z_]+\b", file.read_text())}

    assert {"RECAE_HOME", "RECAE_API_KEYS", "RECAE_EVENTS", "RECAE_LOG_FORMAT"} <= named <= known


def test_the_image_is_slim_has_what_torch_computes_with_and_runs_as_nobody_special():
    assert all(base.startswith("python:3.12-slim") for base in instruction("FROM"))
    assert "libgomp1" in text("Dockerfile")
    assert instruction("USER") == ["10001:10001"]
    assert "useradd --system --uid 10001" in text("Dockerfile")
    assert instruction("EXPOSE") == [str(PORT)]
    assert f"RECAE_PORT={PORT}" in text("Dockerfile")
    check_command(re.findall(r'"([^"]+)"', instruction("CMD")[-1]))


def test_the_image_has_the_versions_of_the_lock_and_of_gunicorn_none_that_was_not_tried():
    installs = re.findall(r"\bpip install (.*?)(?:&&|\n(?! ))", text("Dockerfile"), flags=re.DOTALL)
    root = FOLDER.parents[1]
    pins = (root / "requirements.lock").read_text(encoding="utf-8")
    (locked,) = re.findall(r"^gunicorn==(\S+)", pins, flags=re.MULTILINE)
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = (each for each in map(Requirement, project["dependencies"]) if each.name == "gunicorn")

    assert len(installs) == 2
    assert all("--constraint requirements.lock" in install for install in installs)
    assert "--no-isolation" in text("Dockerfile"), "or the builder would be any version"
    assert locked in wanted.specifier
    major = int(locked.partition(".")[0])
    assert not list(wanted.specifier.filter([f"{major - 1}.99", f"{major + 1}.0"]))


def test_the_images_health_check_is_a_program_that_compiles_and_asks_a_route():
    (command,) = re.findall(r'CMD \["python", "-c", "(.+)"\]', text("Dockerfile"))

    compile(command, "HEALTHCHECK", "exec")
    assert f"127.0.0.1:{PORT}/health/live" in command
    assert role_of("GET", "/health/live") is OPEN


def test_compose_runs_the_api_the_scheduler_and_the_database():
    services = documents("compose.yaml")[0]["services"]

    assert set(services) == {"api", "scheduler", "events"}
    check_command(services["api"]["command"])
    assert services["scheduler"]["command"] == shlex.split(
        "recae schedule --at 03:00 --timezone Europe/Paris"
    )
    assert services["api"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert services["events"]["image"].startswith("postgres:")
    for name in ("api", "scheduler"):
        assert services[name]["environment"]["RECAE_EVENTS"].startswith(
            "postgresql://recae:${POSTGRES_PASSWORD"
        )
        assert services[name]["volumes"] == ["home:/var/lib/recae"]
        assert (FOLDER / services[name]["build"]["context"] / services[name]["build"]["dockerfile"]).is_file()


def test_kubernetes_probes_ask_open_routes_on_the_port_that_is_served():
    deployment, _ = pods()
    (container,) = deployment["containers"]
    rules = {rule.rule for rule in create_app(Settings(), two_tastes()).url_map.iter_rules()}

    assert container["ports"] == [{"name": "http", "containerPort": PORT}]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] == "http"
        assert asked["path"] in rules
        assert role_of("GET", asked["path"]) is OPEN
    assert kinds()["Service"]["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert kinds()["Service"]["spec"]["selector"] == kinds()["Deployment"]["spec"]["selector"]["matchLabels"]


def test_kubernetes_runs_existing_commands_as_the_images_user_on_the_claimed_volume():
    claim = kinds()["PersistentVolumeClaim"]["metadata"]["name"]
    for pod in pods():
        (container,) = pod["containers"]
        check_command(container["args"])
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/var/lib/recae", "/tmp"}


def test_a_service_of_the_same_name_puts_nothing_into_the_environment_of_the_pods():
    assert kinds()["Service"]["metadata"]["name"] == "recae"
    assert [pod["enableServiceLinks"] for pod in pods()] == [False, False]


def test_all_files_call_the_image_by_the_version_that_is_built():
    named = [container["image"] for pod in pods() for container in pod["containers"]]
    composed = documents("compose.yaml")[0]["services"]
    named += [composed[name]["image"] for name in ("api", "scheduler")]
    named += re.findall(r"^# docker build .* -t (\S+) \.$", text("Dockerfile"), flags=re.MULTILINE)
    named += re.findall(
        r"`docker build .* -t (\S+) \.`", (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    )

    assert named == [f"recae:{recae.__version__}"] * 6


def test_whoever_stops_the_server_waits_longer_than_it_takes_to_finish():
    finishing = gunicorn_options(Settings())["graceful_timeout"]
    deployment, _ = pods()

    assert deployment["terminationGracePeriodSeconds"] >= finishing + 5, "and the sleep before"
    assert int(unit("recae.service")["Service"]["TimeoutStopSec"]) >= finishing
    assert (
        int(documents("compose.yaml")[0]["services"]["api"]["stop_grace_period"].removesuffix("s"))
        >= finishing
    )


@pytest.mark.parametrize("name", ["recae.service", "recae-retrain.service"])
def test_units_run_existing_commands_as_a_user_of_their_own(name):
    service = unit(name)["Service"]

    check_command(shlex.split(service["ExecStart"]))
    assert service["User"] == "recae"
    assert "RECAE_HOME=/var/lib/recae" in service["Environment"]
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
    assert service["StateDirectoryMode"] == "0750", "each start of a unit sets it, and it is one folder"


def test_all_ways_to_train_at_night_do_so_at_the_same_time():
    timer, job = unit("recae-retrain.timer")["Timer"], kinds()["CronJob"]["spec"]
    (cron,) = [line for line in text("recae.cron").splitlines() if line.startswith("0 ")]
    *when, user, program, command = cron.split()

    assert timer["OnCalendar"] == "*-*-* 03:00:00 Europe/Paris"
    assert timer["Unit"] == "recae-retrain.service"
    assert (job["schedule"], job["timeZone"], job["concurrencyPolicy"]) == (
        "0 3 * * *",
        "Europe/Paris",
        "Forbid",
    )
    assert (" ".join(when), user) == ("0 3 * * *", "recae")
    check_command([program, command])


def test_no_file_holds_a_secret():
    for file in FOLDER.iterdir():
        assert not re.search(r"recae_[\w-]{30,}|password[:=] *[\w-]{6,}", file.read_text(), re.IGNORECASE), (
            file.name
        )
