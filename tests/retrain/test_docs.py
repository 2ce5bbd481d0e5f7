"""The operator's page is true: its rules are the gate's, its settings exist, its commands too."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

from recae.cli import cli
from recae.config import Settings
from recae.retrain.gate import NEVER_FORCED, refit_verdict, verdicts
from recae.retrain_settings import GateSettings
from tests.retrain.test_gate import evidence, judged

PAGE = (Path(__file__).parents[2] / "api" / "nightly.md").read_text()
BLOCKS = re.findall(r"^ *```(\w*)\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_rule_has_its_line_with_its_defaults():
    lines = dict(
        re.findall(r"^\| `(\w+)` \|(.*)\|$", PAGE.split("## The gate")[1].split("## When")[0], re.MULTILINE)
    )
    rules = [verdict.rule for verdict in verdicts(evidence(), GateSettings())]
    last = refit_verdict(judged([0.5]), judged([0.5]), GateSettings()).rule

    assert list(lines) == [*rules, last]
    assert {rule for rule, line in lines.items() if "cannot be forced" in line} == NEVER_FORCED
    named = dict(re.findall(r"`(\w+)` = (\[.*?\]|\S+?)(?=,? |$)", " ".join(lines.values())))
    assert set(named) == set(GateSettings.model_fields)
    for name, value in named.items():
        found = tomllib.loads(f"value = {value.rstrip(',')}")["value"]
        assert GateSettings(**{name: found}) == GateSettings(), name


def test_the_settings_shown_are_settings():
    (shown,) = [text for kind, text in BLOCKS if kind == "toml"]

    assert Settings(**tomllib.loads(shown)).retrain.notify.on == ("refused", "failed")


def test_the_example_of_a_shell_is_one_command_of_it():
    (shown,) = re.findall(r"`(command = \"sh -c .*?)`", PAGE)

    command = Settings(retrain={"notify": tomllib.loads(shown)}).retrain.notify.command
    program, option, script = shlex.split(command)
    assert (program, option) == ("sh", "-c")
    assert subprocess.run(["sh", "-nc", script], check=False).returncode == 0


def test_every_command_takes_the_options_shown():
    lines = [line.strip() for kind, text in BLOCKS if not kind for line in text.splitlines()]
    shown = [shlex.split(line)[1:] for line in lines if line.startswith("recae ")]
    assert len(shown) >= 9

    for name, *words in shown:
        command = cli.commands[name]
        while words and hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, (name, words)
