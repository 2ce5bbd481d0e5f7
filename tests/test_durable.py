"""Files that survive a crash, by every writer of them: the bytes before the name, the permissions the user asked for."""

import os

import numpy as np
import pytest
from scipy.sparse import csr_array

from recae import durable
from recae.evaluation.exports import write_split
from recae.evaluation.per_user import write_per_user
from recae.models.storage import write_state
from tests.evaluation.evaluation_fakes import held_out_split

WRITERS = {
    "report.md": lambda path: durable.write_file(path, "text"),
    "per_user.parquet": lambda path: write_per_user(("u",), {"m": {"ndcg@10": np.ones(1)}}, path, run="r"),
    "train.parquet": lambda path: write_split(held_out_split(), path.parent),
    "state": lambda path: write_state(path, {"a": np.ones(3), "b": csr_array(np.eye(2, dtype=np.float32))}),
}


@pytest.fixture(params=WRITERS)
def written(request, tmp_path):
    """A path, and what writes it."""
    path = tmp_path / request.param
    return path, lambda: WRITERS[request.param](path)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_file_has_the_permissions_of_the_users_other_files(written, mask, mode):
    path, write = written
    before = os.umask(mask)
    try:
        write()
        write()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_the_bytes_are_on_the_disk_before_the_name_appears(written, monkeypatch):
    path, write = written
    on_disk, fsync = set(), os.fsync

    def noting(descriptor):
        fsync(descriptor)
        if not path.exists():
            on_disk.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noting)
    write()

    assert path.stat().st_ino in on_disk


def test_nothing_else_is_left_and_what_another_writer_has_begun_stays(written):
    path, write = written
    begun = path.with_name(f".{path.name}.tmp")
    begun.write_text("of another process")
    write()
    write()

    assert begun.read_text() == "of another process"
    assert not [each for each in path.parent.glob(".*") if each != begun]
