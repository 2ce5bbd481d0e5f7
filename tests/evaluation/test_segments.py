import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_array

from recae.data.holdout import Holdout
from recae.data.idmap import IdMap
from recae.errors import ConfigError, DataError
from recae.evaluation.protocol import load_protocol
from recae.evaluation.records import SegmentValue
from recae.evaluation.sections import SegmentsSection
from recae.evaluation.segments import columns_of, segments_of, user_groups
from recae.evaluation.statistics import bootstrap_interval

DAY = 86_400


def holdout(n_known, times=None):
    """Users with so many inputs each, and one target."""
    width = max(n_known) + 1
    inputs = csr_array([[1.0] * n + [0.0] * (width - n) for n in n_known], dtype=np.float32)
    targets = csr_array([[0.0] * (width - 1) + [1.0]] * len(n_known), dtype=np.float32)
    users = IdMap(f"u{row}" for row in range(len(n_known)))
    return Holdout(inputs, targets, users, input_times=None if times is None else np.array(times))


def members(groups):
    return {group: np.flatnonzero(mask).tolist() for group, mask in groups.items()}


def test_users_are_grouped_by_thirds_of_what_they_are_known_by():
    groups = user_groups(holdout([1, 9, 2, 8, 3, 7]), np.arange(6), {})

    assert members(groups["activity"]) == {
        "1 to 2 items": [0, 2],
        "3 to 7 items": [4, 5],
        "8 to 9 items": [1, 3],
    }
    assert "recency" not in groups, "nothing is known of times"


def test_equal_users_are_never_torn_apart():
    groups = user_groups(holdout([4, 4, 4, 4, 5]), np.arange(5), {})

    assert members(groups["activity"]) == {"4 to 4 items": [0, 1, 2, 3], "5 to 5 items": [4]}


def test_recency_counts_the_days_since_the_last_event_of_each_user():
    times = [0, 10 * DAY, 3 * DAY, 9 * DAY, 1 * DAY]
    groups = user_groups(holdout([2, 2, 1], times), np.arange(3), {})

    assert members(groups["recency"]) == {
        "last seen 0 to 0 days before the latest": [0],
        "last seen 1 to 1 days before the latest": [1],
        "last seen 9 to 9 days before the latest": [2],
    }


def test_only_the_judged_users_are_grouped():
    groups = user_groups(holdout([1, 5, 9]), np.array([0, 2]), {})

    assert sum(mask.sum() for mask in groups["activity"].values()) == 2
    assert all(len(mask) == 2 for mask in groups["activity"].values())


def test_a_column_groups_by_its_values_and_says_what_is_not_known():
    groups = user_groups(holdout([1, 1, 1, 1]), np.arange(4), {"country": ["fr", "de", None, "fr"]})

    assert members(groups["country"]) == {"fr": [0, 3], "de": [1], "not known": [2]}


def test_a_column_of_many_values_keeps_the_largest_groups():
    values = [str(n) for n in range(30) for _ in range(1 + (n < 20))]
    groups = user_groups(holdout([1] * len(values)), np.arange(len(values)), {"city": values})["city"]

    assert len(groups) == 21
    assert groups["all others"].sum() == 10


def test_a_segment_has_the_mean_and_error_of_its_users():
    groups = {"activity": {"few": np.array([True, True, False]), "many": np.array([False, False, True])}}
    per_user = {"a": {"ndcg@5": np.array([0.2, 0.4, 1.0])}, "b": {"ndcg@5": np.array([0.0, 0.0, 0.5])}}

    few, many = segments_of(groups, per_user)

    assert (few.by, few.group, few.n_users) == ("activity", "few", 2)
    assert few.values["a"]["ndcg@5"].value == pytest.approx(0.3)
    assert few.values["a"]["ndcg@5"].standard_error == pytest.approx(0.1)
    assert many.values["b"]["ndcg@5"].value == 0.5
    assert many.values["b"]["ndcg@5"].standard_error is None, "of a single user"


def test_the_interval_of_a_segment_is_a_bootstrap_interval_and_few_users_have_none():
    values = {"ndcg@5": np.array([1.0] + [0.0] * 8), "recall@5": np.full(9, 0.5)}
    (few,) = segments_of({"by": {"nine": np.ones(9, dtype=bool)}}, {"a": values})
    more = {metric: np.append(known, 0.25) for metric, known in values.items()}
    (enough,) = segments_of({"by": {"ten": np.ones(10, dtype=bool)}}, {"a": more})

    assert few.values["a"]["ndcg@5"].interval is None
    low, high = enough.values["a"]["ndcg@5"].interval
    assert (low, high) == pytest.approx(bootstrap_interval(more["ndcg@5"]))
    assert 0 <= low < 0.125 < high <= 1, "a mean of values within 0 and 1"
    assert enough.values["a"]["recall@5"].interval == pytest.approx(bootstrap_interval(more["recall@5"]))


def test_segments_of_results_without_intervals_are_read():
    assert SegmentValue.model_validate({"value": 0.5, "standard_error": 0.1}).interval is None


def test_users_without_a_value_do_not_count_and_an_empty_group_is_left_out():
    groups = {"by": {"some": np.array([True, True]), "none": np.array([False, False])}}

    (some,) = segments_of(groups, {"a": {"ndcg@5": np.array([0.5, np.nan])}})

    assert (some.n_users, some.values["a"]["ndcg@5"].value) == (1, 0.5)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_columns_of_users_come_from_a_file(tmp_path, suffix):
    path = tmp_path / f"users.{suffix}"
    if suffix == "csv":
        path.write_text("user_id,country\n7,fr\n8,de\n")
    else:
        pq.write_table(pa.table({"user_id": [7, 8], "country": ["fr", "de"]}), path)
    section = SegmentsSection(users=path.name, columns=["country"])

    assert columns_of(section, tmp_path, ["8", "9", "7"]) == {"country": ["de", None, "fr"]}


def test_ids_of_a_file_are_text_as_they_stand_there(tmp_path):
    (tmp_path / "users.CSV").write_text("user_id,country\n0007,fr\n0008,de\n")
    section = SegmentsSection(users="users.CSV", columns=["country"])

    assert columns_of(section, tmp_path, ["0008", "9", "0007"]) == {"country": ["de", None, "fr"]}


def test_a_file_of_other_users_is_refused_with_ids_of_both(tmp_path):
    pq.write_table(pa.table({"user_id": [7, 8], "country": ["fr", "de"]}), tmp_path / "u.parquet")
    complaint = r"u\.parquet holds none of the 2 test users: its user_id are '7', '8', theirs '0007', '0008'; write them"
    with pytest.raises(DataError, match=complaint):
        columns_of(SegmentsSection(users="u.parquet", columns=["country"]), tmp_path, ["0007", "0008"])


@pytest.mark.parametrize("name", ["activity", "recency", "item popularity"])
def test_a_column_called_like_a_group_of_every_report_is_refused(tmp_path, name):
    (tmp_path / "users.csv").write_text(f"user_id,{name}\n1,fr\n")
    with pytest.raises(ConfigError, match=f"segments.columns: '{name}' is what a group is called"):
        columns_of(SegmentsSection(users="users.csv", columns=[name]), tmp_path, ["1"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("user_id,age\n1,2\n", "has no column country; its columns are user_id, age"),
        ("user_id,country\n1,fr\n1,de\n", "has 1 user ids more than once"),
        (None, "cannot read the users' columns from"),
    ],
)
def test_a_file_of_users_that_cannot_serve_is_named(tmp_path, text, complaint):
    if text is not None:
        (tmp_path / "users.csv").write_text(text)

    with pytest.raises(DataError, match=complaint):
        columns_of(SegmentsSection(users="users.csv", columns=["country"]), tmp_path, ["1"])


def test_a_protocol_names_file_and_columns_together(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(
        'name = "p"\n[data]\nsource = "movielens-small"\n[metrics]\nreport = ["ndcg@5"]\nselect = "ndcg@5"\n'
        '[segments]\ncolumns = ["country"]\n[[models]]\nname = "ease"\n'
    )

    with pytest.raises(ConfigError, match="segments: users names a file, and columns what to group by"):
        load_protocol(path)
