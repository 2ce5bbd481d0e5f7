"""What results say of the data, and how a reader comes to see it."""

import io
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.data.splits import given, temporal
from recae.errors import EvaluationError
from recae.evaluation import Results, judge, page, report, runner
from recae.evaluation.outsiders import outsider
from recae.evaluation.records import DataFacts

from .evaluation_fakes import (
    ByColumn,
    held_out_split,
    matrix,
    ranking_protocol,
    rating_protocol,
    rating_split,
)

pytestmark = pytest.mark.usefixtures("fake_models")

MASKED = "Validation items are left out of the lists of longer alone"


def given_split(**more):
    """Three users; validation wants column 4 of a and b, the test column 5 of a and c."""
    users, items = IdMap(["a", "b", "c"]), IdMap.of_range(6)
    parts = [
        matrix([[1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 1], [1, 0, 0, 1, 0, 0]]),
        matrix([[0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0], [0] * 6]),
        matrix([[0, 0, 0, 0, 0, 1], [0] * 6, [0, 0, 0, 0, 0, 1]]),
    ]
    return given(*(Interactions(part, users, items) for part in parts), **more)


def scores(path, *rows):
    pd.DataFrame(rows, columns=["user_id", "item_id", "score"]).to_parquet(path)
    return path


def shown(results: Results) -> list[str]:
    """The console's lines below the table, the Markdown and the page."""
    console = Console(width=400, file=io.StringIO(), record=True)
    console.print(*report.legend(results), sep="\n")
    return [console.export_text(), report.markdown(results), page.html(results)]


# ------------------------------------------------------------------ files of scores


def test_what_a_file_of_scores_misses_of_the_test_is_counted_and_shown(tmp_path):
    path = scores(
        tmp_path / "few.parquet",
        ("h0", "5", 1.0),
        ("h0", "no item", 1.0),
        ("h1", "none either", 1.0),
        ("x", "5", 1.0),
        ("y", "no item", 2.0),
    )
    results = judge({"mine": path, "other": lambda rows: rows.toarray()}, held_out_split(), ["recall@2"])

    assert results.data.notes == {
        "events that nobody wanted": 3,
        "test users without a score in few.parquet (mine)": 2,
        "rows of few.parquet for users who are not asked for (mine)": 2,
        "rows of few.parquet for items outside train (mine)": 2,
    }
    for text in shown(results):
        assert "2 test users without a score in few.parquet (mine)" in text


def test_a_file_of_scores_of_a_protocol_is_held_against_the_test_too(tmp_path, on):
    scores(tmp_path / "few.parquet", ("h2", "5", 1.0))
    protocol = ranking_protocol({}, {"label": "mine", "scores": str(tmp_path / "few.parquet")})

    notes = on(held_out_split(), protocol).data.notes

    assert notes["test users without a score in few.parquet (mine)"] == 2, "h3 has nothing to find"


def test_a_file_that_has_all_scores_needs_no_word(tmp_path):
    path = scores(tmp_path / "all.parquet", *((f"h{user}", "5", 1.0) for user in range(4)))

    assert outsider(path, held_out_split()).notes == {}


def test_a_file_that_meets_nobody_is_refused_with_what_it_has_and_what_is_asked(tmp_path):
    path = scores(tmp_path / "ints.parquet", (7, 5, 1.0), (8, 4, 1.0))

    complaint = (
        r"users '7', '8', where 'h0', 'h1', 'h2' and 1 more are asked for; items '5', '4', where '0', '1'"
    )
    with pytest.raises(EvaluationError, match=complaint):
        outsider(path, held_out_split())


# ------------------------------------------------------------------ rows that are masked differently


def test_rows_that_are_masked_differently_are_named_wherever_results_are_shown(on):
    results = on(given_split(), ranking_protocol({}, {"label": "longer", "refit": True}))

    [remark] = results.data.remarks
    assert remark.startswith(MASKED)
    for text in shown(results):
        assert MASKED in text
    assert Results.model_validate_json(results.model_dump_json()).data.remarks == (remark,)


def test_lists_that_all_leave_validation_items_out_are_told_of(on):
    both = ranking_protocol({"label": "one", "refit": True}, {"label": "longer", "refit": True})
    results = on(given_split(), both)

    [remark] = results.data.remarks
    assert remark.startswith("Validation items are left out of every list")
    for text in shown(results):
        assert "every row learned from train and validation together: 9 interactions (refit)" in text
        assert remark[:60] in text


def test_rows_that_learned_from_unequal_data_are_named_where_nothing_is_masked(on):
    results = on(
        given_split(validation_is_seen=True), ranking_protocol({}, {"label": "longer", "refit": True})
    )

    assert results.data.remarks == ()
    for text in shown(results):
        assert "Before the test, longer learned from train and validation together, 9 interactions" in text


@pytest.mark.parametrize(
    ("split", "models"),
    [
        (given_split(validation_is_seen=True), [{}, {"label": "longer", "refit": True}]),
        (given_split(), [{}, {"label": "longer"}]),
    ],
    ids=["all leave them out", "none has learned from them"],
)
def test_rows_that_are_masked_alike_need_no_remark(on, split, models):
    results = on(split, ranking_protocol(*models))

    assert (results.data.remarks, results.masks) == ((), frozenset())


def test_among_candidates_that_hold_no_validation_item_there_is_nothing_to_mask(on):
    split = given_split()
    candidates = matrix([[0, 0, 1, 0, 0, 1], [0, 0, 1, 0, 0, 1]])
    split = replace(split, test=replace(split.test, candidates=candidates))

    assert on(split, ranking_protocol({}, {"label": "longer", "refit": True})).data.remarks == ()


def test_ratings_have_no_lists_to_leave_anything_out_of(on):
    protocol = rating_protocol(label="longer", refit=True)
    plain = protocol.models[0].model_copy(update={"label": "plain", "refit": False})
    both = protocol.model_copy(update={"models": [*protocol.models, plain]})

    assert on(rating_split(), both).data.remarks == ()


# ------------------------------------------------------------------ the rest


def test_users_of_train_whom_the_test_does_not_ask_are_counted():
    pairs = [(user, item, 10 * item) for user in "abcd" for item in range(3)] + [
        ("a", 2, 90),
        ("b", 3, 95),
        ("c", 0, 1),
    ]
    users, items, times = zip(*pairs, ("d", 3, 5), ("a", 3, 99), strict=True)
    split = temporal(
        Interactions.from_arrays(users, [f"i{item}" for item in items], times=times), test_from=95
    )
    model = ByColumn().fit(split.train.matrix)

    notes = judge({"model": model}, split, ["recall@2"]).data.notes

    assert list(split.test.users) == ["a", "b"]
    assert notes["users of train with nothing held out for the test"] == 2
    of_six = ByColumn().fit(held_out_split().train.matrix)
    strangers = judge({"model": of_six}, held_out_split(), ["recall@2"]).data.notes
    assert strangers == {"events that nobody wanted": 3}, "none of train was to be asked"


def test_the_processor_stands_beside_the_threads(on, monkeypatch):
    monkeypatch.setattr(runner, "processor", lambda: {"name": "Abacus 9"})
    results = on(held_out_split(), ranking_protocol({}))

    assert results.processor == "Abacus 9"
    _console, markdown, html = shown(results)
    assert f"{results.threads} thread(s) of Abacus 9, " in markdown
    assert f"{results.threads} threads of Abacus 9, " in html


def test_results_from_before_are_read_without_processor_and_remarks(on):
    results = on(held_out_split(), ranking_protocol({}))
    table = results.model_dump(mode="json")
    del table["processor"], table["data"]["remarks"]

    before = Results.model_validate(table)

    assert before.processor is None
    assert before.data.remarks == ()
    assert "thread(s), " in report.markdown(before)


def test_notes_are_counted_in_words():
    facts = DataFacts.model_construct(remarks=("Mind this.",), notes={"odd rows": 1234})

    assert facts.notices == ["Mind this.", "1,234 odd rows"]
