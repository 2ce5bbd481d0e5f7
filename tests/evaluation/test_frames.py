import numpy as np
import pytest

from recae.errors import EvaluationError
from recae.evaluation import frames, runner
from recae.evaluation.protocol import Protocol

from .evaluation_fakes import held_out_split, ranking_protocol


@pytest.fixture
def results(monkeypatch, fake_models):
    monkeypatch.setattr(runner, "load_split", lambda _protocol, _seed=None: held_out_split())
    protocol = {
        "name": "p",
        "data": {"source": "movielens-small"},
        "metrics": {"report": ["ndcg@3", "recall@1", "coverage@3"], "select": "ndcg@3"},
        "models": [
            {"name": "by_column", "label": "right", "search": {"favourite": [4, 5]}},
            {"name": "by_column", "label": "wrong", "settings": {"favourite": 1}},
        ],
    }
    return runner.evaluate(Protocol.model_validate(protocol), show_progress=False)


def test_the_table_has_a_row_for_each_model_and_the_interval_of_each_mean(results):
    table = frames.table(results)

    assert table.index.tolist() == ["right", "wrong"]
    assert table.loc["right", "recall@1"] == pytest.approx(1 / 6), (
        "column 4 is right for one of three, by half"
    )
    assert table.loc["right", "recall@1 low"] == 0.0
    assert table.loc["right", "chosen"] == {"favourite": 4}
    assert "coverage@3 low" not in table.columns


def test_a_mean_over_seeds_has_a_deviation_and_no_interval_of_one_of_them(monkeypatch, fake_models):
    monkeypatch.setattr(runner, "load_split", lambda _protocol, _seed=None: held_out_split())
    protocol = ranking_protocol({"name": "by_seed"}, {"settings": {"seed": 0}}, seeds=[4, 5])
    results = runner.evaluate(protocol, show_progress=False)
    table = frames.table(results)

    assert table.loc["by_seed", "hit_rate@1"] == pytest.approx((1 / 3 + 1) / 2)
    assert table.loc["by_seed", "hit_rate@1 sd"] == pytest.approx(2 / 3 / 2**0.5)
    assert np.isnan(table.loc["by_seed", "hit_rate@1 low"])
    assert table.loc["by_column", "hit_rate@1 low"] == 0.0, "tested once, on these users"
    assert results.models[0].test["hit_rate@1"].interval is None
    first = results.models[0].test["hit_rate@1"].model_copy(update={"interval": (0.0, 0.5)})
    earlier = results.models[0].model_copy(update={"test": {"hit_rate@1": first}})
    kept = frames.table(results.model_copy(update={"models": (earlier,)}))
    assert "hit_rate@1 low" not in kept.columns, "nor has one that an earlier version wrote"


def test_users_have_a_row_for_each_model(results):
    users = frames.users(results)

    assert users.groupby("model").size().to_dict() == {"right": 3, "wrong": 3}
    assert users.loc[users.model == "right", "recall@1"].tolist() == [0.0, 0.0, 0.5]
    assert users.user_id.tolist()[:3] == ["h0", "h1", "h2"]


def test_trials_segments_curves_and_significance_come_as_frames(results):
    assert frames.trials(results).query("model == 'right'").favourite.tolist() == [4, 5]
    assert set(frames.segments(results).columns) == {
        "by", "group", "n_users", "model", "metric", "value", "standard_error", "low", "high",
    }  # fmt: skip
    curves = frames.curves(results).query("model == 'right' and metric == 'recall'")
    assert curves.k.tolist() == [1, 2, 3]
    assert curves.value.is_monotonic_increasing
    significance = frames.significance(results)
    assert significance.attrs["best"] == "right"
    assert significance.title.tolist() == ["wrong"]


def test_results_read_without_their_users_say_so(results):
    with pytest.raises(EvaluationError, match=r"read without per_user.parquet"):
        frames.users(results.with_users((), {}))
