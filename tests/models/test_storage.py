import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from recae.errors import ArtifactError
from recae.models import load_model
from recae.models.storage import read_state, write_state

STATE = {
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(3.5),
    "empty": np.zeros((0, 4), dtype=np.int32),
    "tensor": torch.tensor([1, 2]),
    "sparse": csr_array(np.eye(3, dtype=np.float32)),
    "numbers": [1, 2.5, None, True, "text"],
    "nested": {"state": {"0": {"step": np.float32(2)}}},
}


def assert_same(found):
    assert_array_equal(found["weights"], STATE["weights"])
    assert found["scalar"].shape == ()
    assert found["scalar"] == 3.5
    assert found["empty"].shape == (0, 4)
    assert found["tensor"].tolist() == [1, 2]
    assert_array_equal(found["sparse"].toarray(), np.eye(3))
    assert found["numbers"] == STATE["numbers"]
    assert found["nested"] == {"state": {"0": {"step": 2.0}}}


def test_a_nested_state_comes_back_from_a_file(tmp_path):
    write_state(tmp_path / "a", STATE, model="x")
    state, metadata = read_state(tmp_path / "a")
    assert_same(state)
    assert metadata["model"] == "x"


def test_a_nested_state_comes_back_from_an_open_file():
    file = io.BytesIO()
    write_state(file, STATE)
    file.seek(0)
    assert_same(read_state(file)[0])


def test_the_same_state_gives_the_same_bytes():
    def written():
        file = io.BytesIO()
        write_state(file, STATE, model="x", config="y", more="z")
        return file.getvalue()

    assert len({written() for _ in range(20)}) == 1


def test_what_would_need_pickle_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(TypeError, match="cannot store object at '/a/b' without pickle"):
        write_state(tmp_path / "a", {"a": {"b": object()}})
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    write_state(tmp_path / "a", STATE)
    before = (tmp_path / "a").read_bytes()

    def full(*_args, **_kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("recae.models.storage.safetensors.numpy.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        write_state(tmp_path / "a", {"new": np.zeros(3)})
    assert (tmp_path / "a").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_missing_a_cut_and_a_foreign_file_are_artifact_errors(tmp_path):
    with pytest.raises(ArtifactError, match="cannot read"):
        read_state(tmp_path / "none")
    write_state(tmp_path / "a", STATE)
    for length in (0, 4, 100, (tmp_path / "a").stat().st_size - 1):
        (tmp_path / "cut").write_bytes((tmp_path / "a").read_bytes()[:length])
        with pytest.raises(ArtifactError, match="cut"):
            read_state(tmp_path / "cut")
        with (tmp_path / "cut").open("rb") as file, pytest.raises(ArtifactError, match="cut"):
            read_state(file)


def test_a_safetensors_file_of_somebody_else_is_refused_by_its_format(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(2)}, tmp_path / "theirs")
    with pytest.raises(ArtifactError, match="holds format None"):
        read_state(tmp_path / "theirs")


def test_settings_of_another_version_are_an_artifact_error_with_the_way_out(tmp_path):
    write_state(tmp_path / "model", {}, model="bpr", config='{"l2": 0.01}')
    with pytest.raises(
        ArtifactError, match=r"(?s)settings of bpr do not fit this version of recae; fit the model anew .*l2"
    ):
        load_model(tmp_path / "model")


def test_the_file_may_be_read_by_whoever_may_read_this_users_files(tmp_path):
    (tmp_path / "plain").touch()
    write_state(tmp_path / "a", STATE)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="only Linux tells what is mapped")
def test_arrays_of_a_file_are_the_file_mapped_and_outlive_its_name(tmp_path):
    file = tmp_path / "weights"
    write_state(file, {"weights": np.arange(100_000, dtype=np.float32)})
    state, _ = read_state(file)

    assert str(file) in Path("/proc/self/maps").read_text()
    state["weights"][0] = 7.0
    assert read_state(file)[0]["weights"][0] == 0.0, "what one process writes is its own"
    file.unlink()
    assert state["weights"].sum() == pytest.approx(np.arange(100_000).sum() + 7, rel=1e-6)


@pytest.mark.parametrize("part", ["indices", "indptr"])
def test_a_sparse_matrix_with_a_place_that_is_none_is_damaged(tmp_path, part):
    state = {"sparse": csr_array(np.eye(300, dtype=np.float32))}
    getattr(state["sparse"], part)[-1] = 1_000_000
    write_state(tmp_path / "a", state, model="x")

    for source in (tmp_path / "a", io.BytesIO((tmp_path / "a").read_bytes())):
        with pytest.raises(ArtifactError, match="is damaged"):
            read_state(source)
