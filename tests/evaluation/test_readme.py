"""evaluation/README.md says what the code does."""

import re
from pathlib import Path

from click.testing import CliRunner

from recae.cli import cli
from recae.evaluation.protocol import load_protocol
from recae.evaluation.sections import DataSection, HeldOutUsers, LeaveLastOut, RandomRatings, Temporal
from recae.evaluation.specs import DEFINITIONS
from recae.models import registry

FOLDER = Path(__file__).parents[2] / "evaluation"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_example_is_a_protocol_whose_models_exist(tmp_path):
    [example] = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "example.toml").write_text(example, encoding="utf-8")

    protocol = load_protocol(tmp_path / "example.toml")

    assert protocol.data.model_fields_set | {"source"} == set(DataSection.model_fields), "every key is shown"
    for section in protocol.models:
        for searched in section.combinations():
            registry.create(section.name, **section.settings, **searched)


def test_the_table_of_metrics_is_the_registry():
    rows = re.findall(r"^\| `(\w+)(@k)?` \| (.+) \|$", README, re.MULTILINE)
    defined = {name: definition.text for name, definition in DEFINITIONS.items()}

    assert {name: text for name, _, text in rows if name in defined} == defined
    assert {name for name, cut, _ in rows if cut} == {
        name for name, definition in DEFINITIONS.items() if definition.has_cut
    }


def test_every_setting_of_every_split_is_named():
    for section in (HeldOutUsers, LeaveLastOut, Temporal, RandomRatings):
        kind = section.model_fields["kind"].annotation.__args__[0]
        [settings] = re.findall(rf"^\| `{kind}` \| (.+) \|$", README, re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", settings)) == set(section.model_fields) - {"kind"}


def test_every_protocol_has_its_line():
    assert {path.name for path in FOLDER.glob("*.toml")} == set(
        re.findall(r"^\| `([\w.-]+\.toml)`", README, re.MULTILINE)
    )


def test_the_python_lines_work_one_after_the_other(monkeypatch):
    monkeypatch.chdir(FOLDER.parent)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        *_, last = block.strip().splitlines()
        exec(block, names)
        assert not eval(last, names).empty, last

    assert names["results"].significance.best in {"EASE", "mine"}


def test_the_commands_to_split_and_tune_work(tmp_path, monkeypatch):
    (tmp_path / "evaluation").symlink_to(FOLDER)
    monkeypatch.chdir(tmp_path)
    lines = [
        line.strip().removeprefix("recae ").split()
        for line in README.splitlines()
        if line.startswith("    recae ")
    ]
    wanted = [line for line in lines if line[0] in {"split", "tune"}]
    assert len(wanted) == 2

    for line in wanted:
        fewer = ["3" if word == "30" else word for word in line]  # the same search, sooner over
        done = CliRunner().invoke(cli, fewer)
        assert done.exit_code == 0, done.output

    assert (tmp_path / "split" / "test_seen.parquet").is_file()
    assert load_protocol(tmp_path / "tuned" / "tuned.toml").models
