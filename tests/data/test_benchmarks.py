"""Benchmarks: the published splits, read as their tables need them."""

import gzip
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from recae.data.benchmarks import DEFAULT_ROOT, load_benchmark, names
from recae.data.holdout import Holdout, Split
from recae.data.interactions import Interactions
from recae.errors import ConfigError, DataError

ROOT = Path(os.environ.get("RECAE_DATA", DEFAULT_ROOT))


def loaded(name: str) -> Split | Interactions:
    folder = "gowalla" if name.startswith("gowalla") else name.removesuffix("-u1").removesuffix("-ncf")
    folder = folder.replace("monti-", "monti/")
    if not (ROOT / folder).is_dir():
        pytest.skip(f"set RECAE_DATA to the folder that holds {folder}")
    return load_benchmark(name, ROOT)


def sizes(holdout: Holdout) -> tuple[int, int, int, int]:
    return len(holdout), holdout.inputs.nnz, holdout.targets.nnz, holdout.seen.nnz


# Counts as the sources publish them: users, items, training events; then users, inputs, targets and seen events.
@pytest.mark.parametrize(
    ("name", "shape", "train", "validation", "test"),
    [
        (
            "ml-1m-bars_m1",
            (6_022, 3_043),
            796_244,
            (6_022, 796_244, 99_455, 796_244),
            (6_022, 796_244, 99_455, 796_244),
        ),
        (
            "ml-1m-diffrec",
            (5_949, 2_810),
            403_277,
            (5_949, 403_277, 110_722, 403_277),
            (5_949, 403_277, 57_532, 403_277 + 110_722),
        ),
        (
            "gowalla",
            (29_858, 40_981),
            810_128 - 91_047,
            (29_858, 719_081, 91_047, 719_081),
            (29_858, 719_081, 217_242, 810_128),
        ),
        (
            "gowalla-dan-strong",
            (23_858, 40_981),
            821_316,
            (3_000, 82_635, 19_230, 82_635),
            (3_000, 84_460, 19_729, 84_460),
        ),
        (
            "ml-1m-ncf",
            (6_040, 3_706),
            994_169 - 6_040,
            (6_040, 988_129, 6_040, 988_129),
            (6_040, 988_129, 6_040, 994_169),
        ),
        ("ml-100k-u1", (943, 1_682), 72_000, (904, 71_312, 8_000, 71_312), (459, 29_269, 20_000, 29_269)),
        (
            "monti-douban",
            (3_000, 3_000),
            123_202 - 12_321,
            (2_861, 108_223, 12_321, 108_223),
            (2_882, 108_554, 13_689, 108_554),
        ),
    ],
)
def test_a_published_split_has_its_published_sizes(name, shape, train, validation, test):
    split = loaded(name)

    assert isinstance(split, Split)
    assert (split.name, split.train.matrix.shape, len(split.train)) == (name, shape, train)
    assert sizes(split.validation) == validation
    assert sizes(split.test) == test


def test_held_out_users_of_gowalla_have_all_their_events_in_two_parts():
    strong, everything = loaded("gowalla-dan-strong"), loaded("gowalla")

    whole = len(everything.train) + everything.validation.targets.nnz + everything.test.targets.nnz
    held = sum(part.inputs.nnz + part.targets.nnz for part in (strong.validation, strong.test))
    assert len(strong.train) + held == whole == 1_027_370
    of_everybody = everything.train.matrix + everything.validation.targets + everything.test.targets
    assert len(everything.test) == everything.train.n_users, "so its rows are the rows of train"
    rows = everything.train.users.positions(strong.test.users, kind="user")
    assert ((strong.test.inputs + strong.test.targets) != of_everybody[rows]).nnz == 0


@pytest.mark.parametrize(
    ("name", "shape", "entries"),
    [
        ("ml-1m", (6_040, 3_456), 999_721),
        ("ml-100k", (943, 1_682), 100_000),
    ],
)
def test_ratings_are_stars_from_1_to_5(name, shape, entries):
    ratings = loaded(name)

    assert isinstance(ratings, Interactions)
    assert (ratings.matrix.shape, len(ratings)) == (shape, entries)
    assert np.unique(ratings.matrix.data).tolist() == [1, 2, 3, 4, 5]
    assert (ratings.times is None) == (name == "ml-1m")


def test_latest_small_has_half_stars_and_times():
    ratings = loaded("ml-latest-small-2018")

    assert (ratings.matrix.shape, len(ratings)) == ((610, 9_724), 100_836)
    assert np.unique(ratings.matrix.data * 2).tolist() == list(range(1, 11))
    assert ratings.times is not None


@pytest.mark.parametrize("name", names())
def test_missing_data_name_the_variable_to_set(tmp_path, name):
    with pytest.raises(DataError, match=f"benchmark {name} needs .* set RECAE_DATA"):
        load_benchmark(name, tmp_path)


def test_the_folder_comes_from_the_environment(tmp_path, monkeypatch):
    folder = tmp_path / "ml-1m-bars_m1"
    folder.mkdir()
    (folder / "train.txt.gz").write_bytes(gzip.compress(b"0 0 1\n1 2\n"))
    (folder / "test.txt.gz").write_bytes(gzip.compress(b"0 2\n1\n"))
    (folder / "validation_data.json.gz").write_bytes(gzip.compress(json.dumps([[], [0]]).encode()))
    monkeypatch.setenv("RECAE_DATA", str(tmp_path))

    split = load_benchmark("ml-1m-bars_m1")

    assert split.train.matrix.toarray().tolist() == [[1, 1, 0], [0, 0, 1]]
    assert (list(split.test.users), split.test.targets.toarray().tolist()) == (["0"], [[0, 0, 1]])
    assert (list(split.validation.users), split.validation.targets.toarray().tolist()) == (["1"], [[1, 0, 0]])


def test_damaged_data_are_named(tmp_path):
    folder = tmp_path / "ml-1m-bars_m1"
    folder.mkdir()
    (folder / "validation_data.json.gz").write_bytes(b"no archive")

    with pytest.raises(DataError, match=r"ml-1m-bars_m1 under .* cannot be read"):
        load_benchmark("ml-1m-bars_m1", tmp_path)


def test_an_unknown_benchmark_gets_the_list():
    with pytest.raises(ConfigError, match="no benchmark 'netflix'; there are ml-1m-bars_m1, "):
        load_benchmark("netflix")


def test_without_h5py_the_extra_to_install_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"h5py .* pip install 'recae\[benchmarks\]'"):
        load_benchmark("monti-douban", tmp_path)


def test_a_matlab_file_is_read_transposed_and_a_tenth_of_its_training_ratings_validates(tmp_path):
    h5py = pytest.importorskip("h5py")
    ratings = np.zeros((5, 8))
    ratings[:, :6] = np.arange(1, 31).reshape(5, 6)
    is_test = np.zeros_like(ratings)
    is_test[4, 5] = 1
    folder = tmp_path / "monti" / "douban"
    folder.mkdir(parents=True)
    file = io.BytesIO()
    with h5py.File(file, "w") as parts:
        for key, matrix in {"M": ratings, "Otraining": (ratings > 0) - is_test, "Otest": is_test}.items():
            parts[key] = matrix.T
    (folder / "training_test_dataset.mat.gz").write_bytes(gzip.compress(file.getvalue()))

    split = load_benchmark("monti-douban", tmp_path)

    assert split.test.targets.tocoo().coords[1].tolist() == [5]
    assert split.test.targets.data.tolist() == [30.0]
    learned = np.concatenate([split.train.matrix.data, split.validation.targets.data])
    assert sorted(learned) == list(range(1, 30))
    assert (len(split.train), split.validation.targets.nnz) == (26, 3)
    assert list(split.test.users) == ["4"]
