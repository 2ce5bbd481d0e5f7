"""Protocol files: what they mean, and what is said about a wrong one."""

from pathlib import Path

import pytest

from recae.errors import ConfigError
from recae.evaluation import evaluate
from recae.evaluation.protocol import Protocol, load_protocol, sample_protocol_path
from recae.evaluation.specs import MetricSpec
from recae.models import registry

COMMITTED = sorted((Path(__file__).parents[2] / "evaluation").glob("*.toml"))

GOOD = """
name = "good"
seed = 3

[data]
source = "movielens-small"
min_value = 4

[split]
kind = "held_out_users"
validation_users = 50
test_users = 60

[metrics]
report = ["ndcg@100", "recall@20", "coverage@20"]
select = "ndcg@100"

[[models]]
name = "popularity"

[[models]]
name = "ease"
label = "EASE"
search = { l2 = [100, 200], other = ["a", "b", "c"] }
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "protocol.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_file_is_read_with_its_defaults(write):
    protocol = load_protocol(write(GOOD))

    assert protocol.name == "good"
    assert protocol.split.fold_in == 0.8
    assert protocol.metrics.reported == [
        MetricSpec("ndcg", 100),
        MetricSpec("recall", 20),
        MetricSpec("coverage", 20),
    ]
    assert [model.title for model in protocol.models] == ["popularity", "EASE"]
    assert protocol.folder == write(GOOD).parent


def test_searched_lists_multiply(write):
    popularity, ease = load_protocol(write(GOOD)).models

    assert list(popularity.combinations()) == [{}]
    assert list(ease.combinations()) == [
        {"l2": l2, "other": other} for l2 in (100, 200) for other in ("a", "b", "c")
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("min_value", "min_valu", r"protocol\.toml: data\.min_valu: unknown key"),
        ("seed = 3", "sede = 3", r"protocol\.toml: sede: unknown key"),
        ("seed = 3", "seed = -3", r"seed: .*greater than or equal to 0"),
        ("test_users = 60", "fold_inn = 0.5", r"split\.test_users: missing; split\.fold_inn: unknown key"),
        ("test_users = 60", "test_users = 60\nfold_in = 1.0", r"split\.fold_in: .*less than 1"),
        ('"held_out_users"', '"held_out_items"', r"split: .*'held_out_items'.*'held_out_users'"),
        ('label = "EASE"', "labels = 1", r"models 2\.labels: unknown key"),
        ('label = "EASE"', 'label = "popularity"', r"two models are called 'popularity'"),
        (
            'label = "EASE"',
            "settings = { l2 = 5 }",
            r"models 2: l2: both fixed in settings and listed in search",
        ),
        ("l2 = [100, 200]", "l2 = []", r"models 2\.search\.l2: .*at least 1 item"),
        (
            '"recall@20"',
            '"recal@20"',
            r"metrics\.report: no metric is called 'recal' .*there are: ndcg, recall,",
        ),
        (
            '"recall@20"',
            '"recall"',
            r"'recall' needs the number of ranks that count, for example 'recall@20'",
        ),
        ('"recall@20"', '"recall@0"', r"'recall@0' needs the number of ranks"),
        ('"recall@20"', '"recall@²"', r"'recall@²' needs the number of ranks"),
        ('"recall@20"', '"ndcg@100"', r"ndcg@100 is listed twice"),
        ('"recall@20"', '"rmse"', r"metrics of rankings and of ratings need a protocol each"),
        ('"recall@20"', '"rmse@5"', r"'rmse@5' has a cut-off, and rmse has none"),
        ('select = "ndcg@100"', 'select = "coverage@5"', r"more coverage@5 is not simply better"),
        ('select = "ndcg@100"', 'select = "rmse"', r"rmse cannot choose for ndcg@100"),
        ('source = "movielens-small"', "", r"data: give either source .* or path"),
        ('"movielens-small"', '"movielens-small"\npath = "x.csv"', r"data: give either source .* or path"),
        (
            '"movielens-small"',
            '"movielens-small"\ncolumns = { a = "b" }',
            r"data: columns, duplicates and catalogue go with path",
        ),
        (
            'kind = "held_out_users"',
            "",
            r"split\.kind: missing; the kinds are held_out_users, leave_last_out,",
        ),
        (
            '"movielens-small"',
            '"ml-1n"',
            r"data\.source: there is no 'ml-1n'; there are movielens-small, .*ml-1m-ncf",
        ),
        (
            'label = "EASE"',
            "space = { l2 = { high = 3 } }",
            r"protocol\.toml: models 2\.space\.l2\.low: missing$",
        ),
        (
            'label = "EASE"',
            "space = { l2 = { low = 5, high = 3 } }",
            r"protocol\.toml: models 2\.space\.l2: low is 5 and high 3; expected low and below high$",
        ),
        (
            'label = "EASE"',
            "space = { l2 = 5 }",
            r"models 2\.space\.l2: expected values, \[1, 10\], or a range, \{ low = 1, high = 10 \}, with log",
        ),
        ("seed = 3", "seeds = [4, -3]", r"seeds 2: .*greater than or equal to 0"),
        ("seed = 3", "seeds = [4, 5, 4]", r"seeds: \[4, 5, 4\] has a seed twice"),
        ("seed = 3", "seeds = []", r"seeds is empty; name at least one"),
        ("seed = 3", "seed = 3\nseeds = [4, 5]", r"seed is 3 and seeds start with 4; give one or the other"),
        ('name = "good"', 'name = "../bad"', r"name: "),
        ("seed = 3", "seed = ", r"is not valid TOML"),
    ],
)
def test_a_fault_is_named_with_file_and_key(write, right, wrong, complaint):
    assert GOOD.count(right) == 1

    with pytest.raises(ConfigError, match=complaint) as caught:
        load_protocol(write(GOOD.replace(right, wrong)))
    assert "protocol.toml" in str(caught.value)
    assert "\n" not in str(caught.value), "one line"


@pytest.mark.parametrize(
    ("split", "complaint"),
    [
        (
            'kind = "temporal"\nvalidation_share = 0.5\ntest_share = 0.6',
            r"split: validation_share 0\.5 and test_share 0\.6 leave nothing to learn from; together they must be below 1",
        ),
        (
            'kind = "random_ratings"\nvalidation_share = 0.9',
            r"split: validation_share 0\.9 and test_share 0\.1 leave nothing to learn from; .*",
        ),
        (
            'kind = "temporal"\nvalidation_from = 30\ntest_from = 20',
            r"split: validation_from 30 is after test_from 20; validation comes first",
        ),
        (
            'kind = "temporal"\nvalidation_share = 0.1\ntest_from = 20',
            r"split: validation_share would not count beside test_from; give shares or cuts",
        ),
    ],
)
def test_an_impossible_split_is_named_with_file_and_key(write, split, complaint):
    text = GOOD.replace('kind = "held_out_users"\nvalidation_users = 50\ntest_users = 60', split)

    with pytest.raises(ConfigError, match=rf"protocol\.toml: {complaint}$"):
        load_protocol(write(text))


def test_cuts_of_stored_results_have_the_default_shares_beside_them(write):
    text = GOOD.replace(
        'kind = "held_out_users"\nvalidation_users = 50\ntest_users = 60', 'kind = "temporal"\ntest_from = 20'
    )
    protocol = load_protocol(write(text))

    assert Protocol.model_validate(protocol.model_dump()).split == protocol.split


def test_an_empty_name_leaves_a_column_out(write):
    text = GOOD.replace(
        'source = "movielens-small"', 'path = "log.csv"\ncolumns = { user_id = "who", timestamp = "" }'
    )
    assert load_protocol(write(text)).data.mapping == {"user_id": "who", "timestamp": None}


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ('name = "eas"', r"models 2\.name: no model is named 'eas'; there are popularity,"),
        ('name = "ease"\nsettings = { l3 = 3 }', r"models 2\.settings: settings of ease: l3:"),
        (
            'name = "ease"\nsearch = { l2 = [1, -1] }',
            r"models 2\.search: settings of ease: l2: .*greater than 0",
        ),
        (
            'name = "ease"\nspace = { l9 = [1] }',
            r"models 2\.space: ease has no setting l9; its settings are l2",
        ),
        (
            'name = "mult_vae"\nsettings = { device = "cuda:99" }',
            r"models 2\.settings: the device 'cuda:99' is not on this host",
        ),
    ],
)
def test_a_wrong_name_or_setting_is_named_with_the_models_place(write, wrong, complaint):
    head, _ = GOOD.split('name = "ease"')
    with pytest.raises(ConfigError, match=rf"protocol\.toml: {complaint}"):
        evaluate(write(head + wrong + "\n"), show_progress=False)


def test_several_seeds_stand_in_place_of_one(write):
    one, several = (
        load_protocol(write(GOOD.replace("seed = 3", text))) for text in ("seed = 3", "seeds = [4, 2]")
    )

    assert one.every_seed == (3,)
    assert (several.every_seed, several.seed) == ((4, 2), 4), "the first chooses settings"
    again = Protocol.model_validate(several.model_dump())
    assert again.model_dump() == several.model_dump(), "as results hold it"


def test_rating_metrics_need_ratings(write):
    text = GOOD.replace('["ndcg@100", "recall@20", "coverage@20"]', '["rmse"]').replace(
        '"ndcg@100"', '"rmse"'
    )

    with pytest.raises(ConfigError, match=r"rmse needs ratings; set data\.feedback = 'ratings'"):
        load_protocol(write(text))
    assert load_protocol(write(text.replace("[data]", '[data]\nfeedback = "ratings"'))).metrics.of_ratings


def test_a_missing_file_and_a_binary_one_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the protocol .*nowhere\.toml: No such file"):
        load_protocol(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml is not valid TOML"):
        load_protocol(tmp_path / "binary.toml")


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_committed_protocol_loads_and_every_combination_is_a_valid_model(path):
    protocol = load_protocol(path)

    assert protocol.name == path.stem, "the results' folder is called like the file"
    assert protocol.about, "what the numbers compare with is said"
    for section in protocol.models:
        for searched in section.combinations():
            assert registry.create(section.name, **section.settings, **searched).name == section.name


def test_the_sample_has_its_protocol():
    assert load_protocol(sample_protocol_path()).data.source == "movielens-small"
