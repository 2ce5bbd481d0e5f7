"""`recae compare`: what compares stands in one table, what does not stands apart."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from recae.cli import cli
from recae.errors import EvaluationError
from recae.evaluation import Results, compare, evaluate, report, runner
from recae.evaluation.protocol import Protocol

from .evaluation_fakes import held_out_split

REPOSITORY = Path(__file__).parents[2]


def protocol(name, *models, metrics=("recall@2", "hit_rate@1")):
    return Protocol(
        name=name,
        data={"source": "made-up"},
        metrics={"report": list(metrics), "select": "recall@1"},
        models=[{"name": "by_column"} | model for model in models],
    )


@pytest.fixture
def run(monkeypatch, fake_models, tmp_path):
    """Evaluate and write a protocol; the folder."""

    def run(protocol, split=None):
        monkeypatch.setattr(runner, "load_split", lambda _protocol: split or held_out_split())
        folder = tmp_path / protocol.name
        report.write(evaluate(protocol, show_progress=False), folder)
        return folder

    return run


def compared(*folders):
    return compare.markdown(compare.blocks([Results.read(folder) for folder in folders]))


def test_models_of_two_runs_on_the_same_data_share_a_table_and_are_tested(run):
    first = run(protocol("first", {"label": "loser", "settings": {"favourite": 3}}))
    second = run(protocol("second", {"label": "winner", "settings": {"favourite": 5}}))

    text = compared(first, second)

    # column 5 is wanted by all three, once of two: recall@2 is 1, 1, 1/2 against 0
    assert text.startswith("# by hand (first, second)\n")
    assert text.index("| winner | **0.8333** | **1.0000** | 1 |") < text.index(
        "| loser | 0.0000 | 0.0000 | 1 |"
    )
    assert "| loser | -0.8333 |" in text
    assert "| 0 / 3 / 0 |" in text
    assert text.count("# by hand") == 1


def test_numbers_of_different_data_stand_apart(run):
    first = run(protocol("first", {}))
    second = run(protocol("second", {}), held_out_split(validation=False))

    text = compared(first, second)

    assert "# by hand (first)" in text
    assert "# by hand (second)" in text
    assert "2 tables, since numbers of different data or splits do not compare." in text


def test_the_same_title_is_told_apart_by_its_protocol(run):
    text = compared(run(protocol("first", {})), run(protocol("second", {})))
    assert "| by_column (first) |" in text
    assert "| by_column (second) |" in text


def test_the_same_results_twice_are_numbered(run):
    folder = run(protocol("first", {}))
    assert "| by_column (first, 2) |" in compared(folder, folder)


def test_only_metrics_that_all_have_are_shown(run):
    text = compared(
        run(protocol("first", {})), run(protocol("second", {}, metrics=("coverage@2", "hit_rate@1")))
    )
    assert "| model | hit_rate@1 | seeds |" in text


def test_without_the_values_of_users_nothing_is_tested(run):
    folders = run(protocol("first", {})), run(protocol("second", {"settings": {"favourite": 5}}))
    (folders[1] / "per_user.parquet").unlink()
    assert "No tests: not all results have a per_user.parquet of the same users." in compared(*folders)


def test_nothing_to_compare_is_said(tmp_path):
    with pytest.raises(EvaluationError, match="no results to compare; name folders"):
        compare.blocks([])
    with pytest.raises(
        EvaluationError, match=r"no results.json below .* `recae evaluate FILE --output FOLDER`"
    ):
        compare.leaderboard(tmp_path)


def test_the_command_compares_and_writes_the_leaderboard(run, tmp_path):
    run(protocol("first", {"label": "loser"}))
    run(protocol("second", {"label": "winner", "settings": {"favourite": 5}}))

    shown = CliRunner().invoke(cli, ["compare", str(tmp_path / "first"), str(tmp_path / "second")])
    written = CliRunner().invoke(cli, ["compare", "--leaderboard", str(tmp_path)])

    assert shown.exit_code == written.exit_code == 0
    assert "| winner | **0.8333** |" in shown.output
    page = (tmp_path / "README.md").read_text()
    assert "From [first](first/results.md), [second](second/results.md)." in page
    assert "| winner | **0.8333** |" in page
    assert CliRunner().invoke(cli, ["compare"]).exit_code == 2
    assert CliRunner().invoke(cli, ["compare", str(tmp_path / "nowhere")]).exit_code == 2


def test_the_committed_leaderboard_is_what_the_command_writes():
    folder = REPOSITORY / "evaluation" / "results"
    assert (folder / "README.md").read_text() == compare.leaderboard(folder), (
        "run: recae compare --leaderboard evaluation/results"
    )
