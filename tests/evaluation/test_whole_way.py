"""Protocol file in, numbers out, with the real models on real data."""

import os
from pathlib import Path

import pytest

from recae.data.benchmarks import DEFAULT_ROOT
from recae.evaluation import evaluate

SAMPLE = """
name = "small"
seed = 5

[data]
source = "movielens-small"
min_value = 4.0
min_item_users = 20

[split]
kind = "held_out_users"
validation_users = 50
test_users = 100

[metrics]
report = ["ndcg@100", "coverage@20"]
select = "ndcg@100"

[[models]]
name = "popularity"

[[models]]
name = "ease"
search = { l2 = [100, 300] }

[[models]]
name = "mult_vae"
settings = { n_hidden = 50, n_latent = 20, epochs = 8, learning_rate = 0.01 }
"""

BARS = """
name = "bars"

[data]
source = "ml-1m-bars_m1"

[metrics]
report = ["recall@20", "ndcg@20"]
select = "ndcg@20"

[[models]]
name = "ease"
settings = { l2 = 500 }
"""

U1 = """
name = "u1"

[data]
source = "ml-100k-u1"
feedback = "ratings"

[metrics]
report = ["rmse", "mae"]
select = "rmse"

[[models]]
name = "autorec"
settings = { n_hidden = 50, epochs = 4, weight_decay = 0.01 }
refit = true
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "protocol.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def public_data():
    """The folder of the public benchmarks; tests run where the project lies."""
    root = Path(os.environ.get("RECAE_DATA", DEFAULT_ROOT))
    if not root.is_dir():
        pytest.skip("needs the public benchmark data; set RECAE_DATA to their folder")


def test_autoencoders_beat_popularity_on_the_sample_and_a_second_run_gives_the_same_numbers(
    write, monkeypatch
):
    path = write(SAMPLE)
    monkeypatch.chdir(path.parent)

    first, second = evaluate(path, show_progress=False), evaluate("protocol.toml", show_progress=False)

    ndcg = {row.title: row.test["ndcg@100"].value for row in first.models}
    assert ndcg["ease"] > 1.25 * ndcg["popularity"]
    assert ndcg["mult_vae"] > ndcg["popularity"]
    assert [row.test for row in first.models] == [row.test for row in second.models]
    assert first.data == second.data
    assert first.command == second.command == "recae evaluate protocol.toml"


def test_results_name_no_folder_of_this_machine(write, monkeypatch):
    path = write(SAMPLE.partition('[[models]]\nname = "ease"')[0])
    (path.parent / "elsewhere").mkdir()
    monkeypatch.chdir(path.parent / "elsewhere")
    results = evaluate(path, show_progress=False)

    assert results.command == "recae evaluate ../protocol.toml"
    assert str(path.parent) not in results.model_dump_json()


@pytest.mark.usefixtures("public_data")
def test_ease_gives_the_reference_values_of_bars_split(write):
    [ease] = evaluate(write(BARS), show_progress=False).models

    assert ease.test["recall@20"].value == pytest.approx(0.2759, abs=5e-5)
    assert ease.test["ndcg@20"].value == pytest.approx(0.2660, abs=5e-5)


@pytest.mark.usefixtures("public_data")
def test_predicted_ratings_are_closer_than_the_overall_mean(write):
    results = evaluate(write(U1), show_progress=False)

    [autorec] = results.models
    assert results.data.n_test_targets == 20_000
    assert autorec.test["rmse"].value < 1.0, "always predicting the mean of u1.base gives 1.154"
    assert autorec.test["mae"].value < autorec.test["rmse"].value
