"""`recae compare`: what compares stands in one table, what does not stands apart."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from recae.cli import cli
from recae.errors import EvaluationError
from recae.evaluation import Results, compare, evaluate, report, runner
from recae.evaluation.protocol import Protocol

from .evaluation_fakes import held_out_split, rating_protocol, rating_split

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


def test_two_runs_of_one_protocol_are_numbered(run):
    before = Results.read(run(protocol("first", {})))
    after = Results.read(run(protocol("first", {})))
    assert "| by_column (first, 2) |" in compare.markdown(compare.blocks([before, after]))


def test_one_run_named_twice_is_taken_once(run, tmp_path):
    first = run(protocol("first", {"label": "loser"}))
    second = run(protocol("second", {"label": "winner", "settings": {"favourite": 5}}))
    (tmp_path / "copy").symlink_to(first)

    assert compared(first, second, tmp_path / "copy") == compared(first, second)
    shown = CliRunner().invoke(cli, ["compare", *map(str, (first, second, first))])
    assert shown.stdout == compared(first, second)
    assert "a run that is named again is taken once: 1 of 3 left out" in shown.stderr


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([[1, 2, 3], [1]], "means over 3 seeds and one"),
        ([[1], [1, 2, 3]], "means over one and 3 seeds"),
        ([[1, 2], [1, 3]], "means over the seeds 1, 2 and over 1, 3"),
    ],
)
def test_more_draws_of_the_same_split_stand_apart_for_that_reason(run, seeds, said):
    results = []
    for name, each in zip(("first", "second"), seeds, strict=True):
        found = Results.read(run(protocol(name, {})))
        named = found.protocol.model_copy(update={"seeds": tuple(each), "seed": each[0]})
        data = found.data.model_copy(update={"more_sha256": tuple(map(str, each[1:]))})
        results.append(found.model_copy(update={"protocol": named, "data": data}))

    text = compare.markdown(compare.blocks(results))

    assert text.count("# by hand") == 2
    assert f"first and second: the same data and first split, but {said}.\n" in text
    assert "numbers of different data" not in text


def test_lists_that_leave_validation_items_out_stand_apart(run):
    def models(result, *, refit):
        sections = [section.model_copy(update={"refit": refit}) for section in result.protocol.models]
        named = result.protocol.model_copy(update={"models": sections})
        data = result.data.model_copy(update={"refit_masks": True})
        return result.model_copy(update={"protocol": named, "data": data})

    plain = models(Results.read(run(protocol("plain", {}))), refit=False)
    refitted = [models(Results.read(run(protocol(name, {}))), refit=True) for name in ("longer", "longest")]

    text = compare.markdown(compare.blocks([plain, *refitted]))

    assert "# by hand (plain)" in text
    assert "# by hand (longer, longest)" in text
    assert (
        "plain and longer, longest: the same data and first split, but the models of longer, longest learned"
        in text
    )


def test_a_bar_in_a_label_ends_no_cell(run, tmp_path):
    folder = run(protocol("first", {"label": "a|b"}))
    assert "| a\\|b | " in compared(folder)
    assert "| a\\|b | " in compare.leaderboard(tmp_path)


def test_ratings_are_not_tested_and_the_reason_is_said(run):
    folders = []
    for name in ("first", "second"):
        named = rating_protocol().model_copy(update={"name": name})
        folders.append(run(named, rating_split()))
    assert "No tests: errors of ratings are no means over users." in compared(*folders)


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


def test_a_page_that_somebody_else_wrote_is_not_replaced(run, tmp_path):
    run(protocol("first", {}))
    page = tmp_path / "README.md"
    page.write_text("# My notes\n\nMonths of work.\n")

    refused = CliRunner().invoke(cli, ["compare", "--leaderboard", str(tmp_path)])

    assert refused.exit_code == 1
    assert "README.md begins with '# My notes', not with '# Leaderboard'" in refused.stderr
    assert "move it, or keep the results in a folder of their own" in refused.stderr
    assert page.read_text() == "# My notes\n\nMonths of work.\n"
    page.write_text("")
    assert CliRunner().invoke(cli, ["compare", "--leaderboard", str(tmp_path)]).exit_code == 1
    page.write_text("# Leaderboard\n\nof last week\n")
    assert CliRunner().invoke(cli, ["compare", "--leaderboard", str(tmp_path)]).exit_code == 0
    assert "by_column" in page.read_text()


def test_the_committed_leaderboard_is_what_the_command_writes():
    folder = REPOSITORY / "evaluation" / "results"
    assert (folder / "README.md").read_text() == compare.leaderboard(folder), (
        "run: recae compare --leaderboard evaluation/results"
    )
