"""Reports: what a reader of the table must be able to see, and files that are whole or absent."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from recae.errors import EvaluationError
from recae.evaluation import Results, evaluate, report, runner
from recae.evaluation.console import tables
from recae.evaluation.protocol import Protocol
from recae.evaluation.records import Comparison, Measured, ModelResult, Significance
from recae.evaluation.results import significance_of
from recae.evaluation.specs import MetricSpec

from .evaluation_fakes import ByColumn, held_out_split, rating_protocol, rating_split

FILES = ["per_user.parquet", "results.html", "results.json", "results.md"]

PROTOCOL = Protocol(
    name="by-hand",
    about="Compares with nothing.",
    seed=17,
    data={"source": "made-up"},
    metrics={"report": ["recall@2", "hit_rate@1", "coverage@2"], "select": "recall@1"},
    models=[
        {"name": "by_column", "label": "loser", "settings": {"favourite": 3}},
        {"name": "by_column", "label": "winner", "search": {"favourite": [-1, 4]}},
    ],
)


@pytest.fixture
def results(monkeypatch, fake_models):
    monkeypatch.setattr(runner, "load_split", lambda _protocol: held_out_split())
    return evaluate(PROTOCOL, show_progress=False, command="recae evaluate by-hand.toml")


@pytest.fixture
def seeded_results(monkeypatch, fake_models):
    """Hits at rank 1 with seeds 4 and 5: 1/3 and 1 of the users."""
    monkeypatch.setattr(runner, "load_split", lambda _protocol: held_out_split())
    models = [{"name": "by_seed"}, {"name": "by_column", "settings": {"seed": 0}}]
    protocol = PROTOCOL.model_dump(exclude={"seed"}) | {"seeds": [4, 5], "models": models}
    return evaluate(Protocol.model_validate(protocol), show_progress=False)


def test_what_the_fit_measured_of_a_model_stands_in_every_report(monkeypatch, fake_models, tmp_path):
    monkeypatch.setattr(runner, "load_split", lambda _protocol: held_out_split())
    monkeypatch.setattr(ByColumn, "measured", property(lambda model: {"activity": model.favourite_[0] / 16}))
    results = evaluate(PROTOCOL, show_progress=False)

    as_json, as_markdown, page = report.write(results, tmp_path)

    assert Results.read(as_json).models[0].measured == {"activity": 3 / 16}
    assert "measured: activity 0.1875\n" in as_markdown.read_text()
    assert "loser: activity 0.1875" in list(report.legend(results))
    assert "measured activity 0.1875</li>" in page.read_text()


def test_the_markdown_says_what_was_measured_how_and_how_to_repeat_it(results):
    text = report.markdown(results)

    assert "# by-hand\n\nCompares with nothing." in text
    assert "| model | recall@2 | hit_rate@1 | coverage@2 | chosen on validation | seconds |" in text
    assert "| winner | **0.1667** ± 0.1667 | **0.3333** ± 0.3333 | 0.5000 | favourite=4 |" in text
    assert "| loser | 0.0000 ± 0.0000 | 0.0000 ± 0.0000 | 0.5000 | - |" in text, "more coverage wins nothing"
    assert "    recae evaluate by-hand.toml\n" in text
    assert "Seed 17," in text
    assert "by hand: 9 interactions of 3 users with 6 items to learn from" in text
    assert "tested on 3 users with 4 held-out items, 1 left out" in text
    assert "- 3 events that nobody wanted" in text
    assert results.data.sha256 in text
    assert "- **recall**: hits in the first k / held-out items" in text
    assert "- **winner** (by_column): favourite=4, seed=17" in text
    assert "| winner | favourite=-1 | failed: diverged, as asked |" in text
    assert "| winner | favourite=4 | **1.0000** |" in text


def test_several_seeds_are_shown_as_mean_and_deviation(seeded_results, tmp_path):
    text = report.markdown(seeded_results)

    assert "| by_seed | **0.5000** ± 0.4714 (2 seeds) | **0.6667** ± 0.4714 (2 seeds) |" in text
    assert (
        "± is the standard deviation over seeds where seeds are counted beside it, and the standard" in text
    )
    assert "Seeds 4, 5," in text
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(*tables(seeded_results, width=80), *report.legend(seeded_results))
    shown = " ".join(console.export_text().split())  # lines break anywhere
    assert "± 0.4714" in shown
    assert "±: standard deviation over the seeds" in shown
    again = Results.read(report.write(seeded_results, tmp_path)[0])
    assert again.models[0].test["hit_rate@1"].by_seed == pytest.approx((1 / 3, 1.0))
    assert again.models[0].seeds == (4, 5)


def test_the_console_shows_every_model_metric_and_definition(results):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(*tables(results, width=80))
    for line in report.legend(results):
        console.print(line)
    text = console.export_text()

    for shown in (
        "loser",
        "winner",
        "hit_rate",
        "@2",
        "0.1667",
        "favourite=4 (best of 2",
        "coverage: share of the catalogue",
    ):
        assert shown in text
    assert "…" not in text, "80 columns are enough"


@pytest.mark.parametrize("width", [80, 200])
def test_many_metrics_break_into_tables_that_all_name_the_models(results, width):
    names = ["a model with a name of forty letters, so", "short"]
    metrics = [
        *(f"{name}@{k}" for name in ("recall", "ndcg", "hit_rate", "serendipity") for k in (1, 5, 10, 100)),
        "average_popularity@10",
    ]
    measured = results.models[0].test["recall@2"]
    models = tuple(
        model.model_copy(update={"title": name, "test": dict.fromkeys(metrics, measured)})
        for model, name in zip(results.models, names, strict=True)
    )
    section = results.protocol.metrics.model_copy(update={"report": metrics})
    many = results.model_copy(
        update={"models": models, "protocol": results.protocol.model_copy(update={"metrics": section})}
    )
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(*tables(many, width=width))
    text = console.export_text()

    n_tables = text.count("further metrics") + 1
    assert n_tables > 1
    assert text.count("│ short") == text.count("│ a model with a name of") == n_tables, (
        "names are there to read"
    )
    assert text.count("0.0000") == 2 * len(metrics), "every value stands there once"
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_written_results_are_read_back_equal(results, tmp_path):
    as_json, as_markdown, _page = report.write(results, tmp_path / "new" / "folder")
    again = Results.read(as_json)

    assert again.model_dump() == results.model_dump()
    assert as_markdown.read_text(encoding="utf-8") == report.markdown(again)
    assert "per_user" not in as_json.read_text(), "values of single users have a file of their own"
    assert sorted(path.name for path in as_json.parent.iterdir()) == FILES


def test_a_crash_while_writing_leaves_the_old_results_whole(results, tmp_path, monkeypatch):
    as_json, *_ = report.write(results, tmp_path)
    before = as_json.read_bytes()

    def crash(*_):
        raise OSError("disk gone")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="disk gone"):
        report.write(results.model_copy(update={"command": "another"}), tmp_path)

    assert as_json.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


@pytest.mark.parametrize("content", ["", "{}", '{"protocol": 1}', "not json"])
def test_a_file_that_holds_no_results_is_named(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(
        EvaluationError, match=r"results\.json holds no results of this version .* evaluate again"
    ):
        Results.read(path)
    with pytest.raises(EvaluationError, match=r"cannot read results from .*nowhere"):
        Results.read(Path(tmp_path / "nowhere"))


def test_the_values_of_single_users_come_back_with_the_results(results, tmp_path):
    report.write(results, tmp_path)

    again = Results.read(tmp_path)

    assert again.users == ("h0", "h1", "h2"), "the fourth has nothing held out"
    for before, after in zip(results.models, again.models, strict=True):
        assert before.per_user.keys() == after.per_user.keys()
        assert after.per_user["recall@2"].tolist() == before.per_user["recall@2"].tolist()
    assert again.models[1].per_user["hit_rate@1"].tolist() == [0.0, 0.0, 1.0]
    (tmp_path / "per_user.parquet").unlink()
    assert Results.read(tmp_path).models[1].per_user == {}


def test_the_markdown_says_whether_the_difference_is_real(results):
    text = report.markdown(results)

    assert "## Is the difference real? (recall@2)" in text, "recall@1 chose, but is not in the table"
    # the winner has 0, 0, 1/2 and the loser nothing: one user of three, whose sign may fall either way
    assert "| against winner | difference | 95% interval | p | users better / worse / equal |" in text
    assert "| loser | -0.1667 | -0.5000 to +0.0000 | 1.000 | 0 / 1 / 2 |" in text


def model(title, values, *, mean):
    """A row of one metric: the values of its users with the first seed, and the mean over seeds."""
    return ModelResult(
        title=title, name=title, settings={}, chosen={}, trials=(), seconds=1.0,
        test={"recall@2": Measured(value=mean, standard_error=None)}, per_user={"recall@2": np.array(values)},
    )  # fmt: skip


def test_the_best_is_the_best_of_the_table_not_of_the_first_seed():
    lucky, steady, third = (
        model("lucky once", [0.9, 0.8], mean=0.4),
        model("steady", [0.6, 0.5], mean=0.5),
        model("third", [0.1, 0.1], mean=0.1),
    )
    found = significance_of([lucky, steady, third], [MetricSpec("recall", 2)], "recall@2")

    assert found.best == "steady"
    assert found.others[0].mean == pytest.approx(0.3), "over the users of the first seed"
    assert found.corrected_for == 3
    text = "\n".join(report.significance_lines(found, several_seeds=True))
    assert "p corrected (Holm) for all 3 pairs, since the best is chosen on the same users." in text
    assert "bootstrap interval of the mean difference, not corrected" in text


def test_results_of_versions_that_corrected_for_less_say_so():
    found = Significance(
        metric="recall@2",
        best="a",
        others=[Comparison(title=t, mean=0, low=0, high=0, p=1, wins=0, losses=0, ties=2) for t in "bc"],
    )
    assert "p corrected (Holm) for 2 comparisons. " in "\n".join(
        report.significance_lines(found, several_seeds=False)
    )


def test_a_bar_in_a_label_ends_no_cell(results):
    first, second = results.models
    first = first.model_copy(update={"title": "a|b"})
    found = results.significance.others[0].model_copy(update={"title": "a|b"})
    significance = results.significance.model_copy(update={"others": (found,)})
    text = report.markdown(
        results.model_copy(update={"models": (first, second), "significance": significance})
    )

    rows = [line for line in text.splitlines() if "a\\|b" in line and line.startswith("| ")]
    assert len(rows) == 2, "the table, and the differences"
    assert "| a|b" not in text


def test_ratings_say_why_nothing_is_tested(on, fake_models):
    protocol = rating_protocol(label="a").model_copy(
        update={"models": [rating_protocol(label=label).models[0] for label in "ab"]}
    )
    results = on(rating_split(), protocol)

    assert (
        "Whether the differences are real was not tested: rmse and mae are of all held-out ratings together, not means"
        in report.markdown(results)
    )
    assert "not tested" not in report.markdown(results.model_copy(update={"models": results.models[:1]}))


def test_one_model_is_compared_with_nobody(monkeypatch, fake_models):
    monkeypatch.setattr(runner, "load_split", lambda _protocol: held_out_split())
    alone = PROTOCOL.model_copy(update={"models": PROTOCOL.models[:1]})
    results = evaluate(alone, show_progress=False)
    assert results.significance is None
    assert "Is the difference real?" not in report.markdown(results)


def test_the_users_of_another_run_are_not_taken_for_those_of_this_one(results, tmp_path):
    report.write(results, tmp_path)
    other = results.model_copy(update={"seconds": results.seconds + 1})
    (tmp_path / "results.json").write_text(other.model_dump_json())
    assert Results.read(tmp_path).users == ()


def test_a_damaged_file_of_users_is_named(results, tmp_path):
    report.write(results, tmp_path)
    (tmp_path / "per_user.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(
        EvaluationError, match=r"per_user.parquet cannot be read .* evaluate again, or remove it"
    ):
        Results.read(tmp_path)
