"""ModelStore: what was saved comes back, what was damaged is named, and no crash costs the model in service."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from recae import durable
from recae.artifacts import ITEMS as ITEMS_FILE
from recae.artifacts import WEIGHTS, ModelStore
from recae.errors import ArtifactError
from recae.manifest import MANIFEST
from tests.tastes import CATALOGUE, ITEMS, LIKES, USERS, fitted_ease


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models")


@pytest.fixture
def version(store):
    return store.save(fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------ saving and loading


def test_a_saved_model_comes_back_with_its_names_titles_and_scores(store):
    model = fitted_ease(l2=3.0)
    version = store.save(
        model, ITEMS, users=USERS, catalogue=CATALOGUE, metrics={"ndcg@100": 0.5}, watermark=1_700_000_000
    )

    stored = store.load(version)

    np.testing.assert_array_equal(stored.model.score(LIKES), model.score(LIKES))
    assert (stored.items, stored.users, stored.catalogue) == (ITEMS, USERS, CATALOGUE)
    manifest = stored.manifest
    assert (manifest.model, manifest.config) == ("ease", model.config.model_dump())
    assert (manifest.n_users, manifest.n_items) == (7, 6)
    assert (manifest.metrics, manifest.watermark) == ({"ndcg@100": 0.5}, 1_700_000_000)
    assert set(manifest.files) == set(names_in(store.root / version)) - {MANIFEST}


def test_users_and_catalogue_may_be_left_out(store):
    stored = store.load(store.save(fitted_ease(), ITEMS))

    assert stored.users is None
    assert stored.items == ITEMS
    assert stored.catalogue.title("a") is None


def test_versions_are_listed_oldest_first(store):
    assert store.versions() == []
    saved = []
    for _ in range(3):
        saved.append(store.save(fitted_ease(), ITEMS))
        time.sleep(0.002)

    assert store.versions() == saved


def test_nothing_is_in_service_before_a_promotion(store, version):
    assert store.current() is None
    with pytest.raises(ArtifactError, match=r"no model is in service .* promote a version"):
        store.load()


def test_promote_and_rollback_walk_there_and_back(store):
    first, second, third = (store.save(fitted_ease(), ITEMS) for _ in range(3))

    assert store.promote(first) is None
    assert store.promote(second) == first
    assert store.promote(second) == second, "promoting what is in service changes nothing"
    assert store.promote(third) == second
    assert store.load().version == third
    assert store.rollback() == second
    assert store.rollback() == first
    with pytest.raises(ArtifactError, match="no model was in service before this one"):
        store.rollback()
    assert store.current() == first


def test_rollback_in_an_empty_store_says_what_to_do(store):
    with pytest.raises(ArtifactError, match="recae train"):
        store.rollback()


@pytest.mark.parametrize("name", ["nothing", "", "..", "../models", "a/b", ".tmp-1", "/"])
def test_a_version_that_does_not_exist_or_leads_elsewhere_is_refused(store, version, name):
    for use in (store.load, store.promote, store.manifest):
        with pytest.raises(ArtifactError, match=f"there are: '{version}'"):
            use(name)


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize("name", [WEIGHTS, ITEMS_FILE, "users.parquet"])
def test_one_flipped_bit_is_noticed_and_the_file_named(store, version, name):
    path = store.root / version / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    for use in (store.load, store.promote):
        with pytest.raises(ArtifactError, match=rf"{name} is not what was saved: .*promote another version"):
            use(version)
    assert store.current() is None


def test_a_truncated_file_is_noticed(store, version):
    path = store.root / version / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(ArtifactError, match=WEIGHTS):
        store.load(version)


def test_a_missing_file_is_named(store, version):
    (store.root / version / WEIGHTS).unlink()

    with pytest.raises(ArtifactError, match=f"{WEIGHTS} is missing"):
        store.load(version)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format_version": 1}', "\udcff"])
def test_a_damaged_manifest_is_named(store, version, text):
    (store.root / version / MANIFEST).write_text(text, errors="surrogateescape")

    with pytest.raises(ArtifactError, match=MANIFEST):
        store.load(version)


def test_a_version_of_another_format_says_which_one_this_recae_reads(store, version):
    path = store.root / version / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))

    with pytest.raises(ArtifactError, match=r"format version 2, recae .* reads 1"):
        store.load(version)


def test_a_damaged_pointer_is_named(store, version):
    store.promote(version)
    (store.root / "current").write_text("{")

    with pytest.raises(ArtifactError, match=r"current is damaged, .* `recae models promote VERSION`"):
        store.current()


def test_a_promotion_mends_a_damaged_pointer_and_keeps_the_history(store):
    first, second = (store.save(fitted_ease(), ITEMS) for _ in range(2))
    store.promote(first)
    store.promote(second)
    (store.root / "current").write_text("")
    with pytest.raises(ArtifactError, match="recae models promote VERSION"):
        store.rollback()
    assert [change.version for change in store.changes()] == [first, second]

    assert store.promote(second) == second

    assert store.current() == second
    assert [change.version for change in store.changes()] == [first, second]
    assert store.rollback() == first


def test_a_damaged_pointer_without_a_copy_is_set_aside(store, version):
    store.promote(version)
    (store.root / "current").write_text('{"version": "half a li')
    (store.root / "current.copy").unlink()  # as in a store of an older recae

    assert store.promote(version) is None

    assert store.current() == version
    (aside,) = store.root.glob("current.damaged-*")
    assert aside.read_text() == '{"version": "half a li'


# ------------------------------------------------------------------ crashes

KILLED_AT_EVERY_STEP = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from recae.artifacts import ModelStore
from recae.data.idmap import IdMap

class Stub:
    name, n_users_, n_items_ = "stub", 2, 3
    config, measured = SimpleNamespace(model_dump=lambda mode: {}), {}
    def save(self, path):
        path.write_bytes(b"weights")

def dies_at(step):
    # Replace every call that makes something last or visible by one that may be this process's last.
    calls = 0
    def wrapped(call):
        def instead(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)
        return instead
    for name in ("fsync", "rename", "replace", "open"):
        setattr(os, name, wrapped(getattr(os, name)))

store = ModelStore(sys.argv[1])
old = store.save(Stub(), IdMap(["a", "b", "c"]))
store.promote(old)
print(old, flush=True)
for step in range(1, 200):
    child = os.fork()
    if child == 0:
        dies_at(step)
        store.promote(store.save(Stub(), IdMap(["a", "b", "c"])))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    versions = store.versions()
    for version in versions:
        store.check(version)  # whatever is visible is complete
    print(os.waitstatus_to_exitcode(status), store.current() in versions, store.current() == old, flush=True)
    if status == 0:
        break
"""


def test_a_kill_at_any_step_leaves_whole_versions_and_the_old_one_in_service(tmp_path):
    root = tmp_path / "models"
    command = [sys.executable, "-c", KILLED_AT_EVERY_STEP, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    old, *steps = done.stdout.splitlines()
    codes, readable, unchanged = zip(*(step.split() for step in steps), strict=True)

    assert set(readable) == {"True"}
    assert codes[-1] == "0", "the last child must have got through, or not every step was tried"
    assert set(codes[:-1]) == {"-9"}
    assert len(codes) > 12, "too few steps were found to die at"
    first_change = unchanged.index("False")
    assert set(unchanged[:first_change]) == {"True"}
    assert set(unchanged[first_change:]) == {"False"}
    assert first_change >= len(codes) - 4, "the new version may be in service only at the very end"
    store = ModelStore(root)
    assert old in store.versions()
    assert any(name.startswith(durable.TEMPORARY) for name in names_in(root)), (
        "the kills must leave leftovers"
    )


def test_every_byte_is_on_the_disk_before_its_name_appears(store, monkeypatch):
    synced, before_rename = set(), {}
    fsync, rename = os.fsync, os.rename

    def recorded(descriptor):
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def watched(source, target):
        before_rename[Path(source).name] = (set(synced), set(names_in(Path(source))))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", recorded)
    monkeypatch.setattr(os, "rename", watched)
    store.save(fitted_ease(), ITEMS, users=USERS)

    ((temporary, (on_disk, files)),) = before_rename.items()
    assert files == {WEIGHTS, ITEMS_FILE, "users.parquet", MANIFEST}
    assert on_disk >= files | {temporary}
    assert "models" in synced - on_disk, "the store's own folder comes after"


def test_a_failed_save_leaves_nothing_behind(store, version, monkeypatch):
    model = fitted_ease()
    monkeypatch.setattr(model, "save", lambda path: Path(path).write_bytes(b"half") and 1 / 0)
    before = names_in(store.root)

    with pytest.raises(ZeroDivisionError):
        store.save(model, ITEMS)

    assert names_in(store.root) == before


def test_leftovers_are_swept_only_when_old_and_without_a_living_writer(store, version):
    recent, old, living = (store.root / f"{durable.TEMPORARY}{name}" for name in ("recent", "old", "living"))
    for folder in (recent, old, living):
        folder.mkdir()
        (folder / WEIGHTS).write_bytes(b"half")
    old_file = store.root / f"{durable.TEMPORARY}file"
    old_file.write_text("{")
    for path in (old, living, old_file):
        os.utime(path, (0, 0))

    with durable.locked(living):
        store.save(fitted_ease(), ITEMS)

    assert {path.name for path in store.root.glob(f"{durable.TEMPORARY}*")} == {recent.name, living.name}
    assert version in store.versions()


def test_two_writers_at_once_both_succeed(store):
    model, failures = fitted_ease(), []

    def write():
        try:
            for _ in range(5):
                store.promote(store.save(model, ITEMS))
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            failures.append(error)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert failures == []
    assert len(store.versions()) == 10
    back = [store.current()]
    while len(back) < 10:
        back.append(store.rollback())
    assert sorted(back) == store.versions(), "every promotion must be on the way back, once"


def test_every_promotion_and_rollback_is_written_down_in_the_instant_it_happens(store):
    first, second = (store.save(fitted_ease(), ITEMS) for _ in range(2))
    store.promote(first)
    store.promote(second)
    store.promote(second)  # changes nothing
    store.rollback()
    store.prune(1)

    assert [(change.how, change.version) for change in store.changes()] == [
        ("promoted", first),
        ("promoted", second),
        ("rolled back", first),
    ]


def test_pruning_keeps_what_serves_and_what_a_rollback_brings_back(store):
    versions = [store.save(fitted_ease(), ITEMS) for _ in range(5)]
    store.promote(versions[0])
    store.promote(versions[1])

    assert store.prune(2) == [versions[2]]
    assert store.versions() == [*versions[:2], *versions[3:]]
    assert store.prune(1) == [versions[3]]
    assert store.rollback() == versions[0]


def test_pruning_spares_what_it_is_told_to(store):
    versions = [store.save(fitted_ease(), ITEMS) for _ in range(4)]
    store.promote(versions[3])

    assert store.prune(1, spare={versions[1], "removed long ago"}) == [versions[0], versions[2]]
    assert store.load(versions[1]).version == versions[1]


def test_a_promotion_over_another_version_than_the_one_compared_with_is_refused(store):
    first, second, third = (store.save(fitted_ease(), ITEMS) for _ in range(3))
    store.promote(first)
    store.promote_over(second, first)
    store.promote_over(second, first)  # a run that was killed after it

    with pytest.raises(ArtifactError, match=f"{second} is in service now"):
        store.promote_over(third, first)
    assert store.current() == second


class PrunedMeanwhile(ModelStore):
    """A store in which another process prunes after a version has been checked."""

    def check(self, version):
        found = super().check(version)
        ModelStore(self.root).prune(1)
        return found


@pytest.mark.parametrize("how", ["promote", "promote_over"])
def test_a_version_that_is_pruned_during_its_promotion_does_not_go_into_service(store, how):
    live, gone, _ = (store.save(fitted_ease(), ITEMS) for _ in range(3))
    store.promote(live)

    with pytest.raises(ArtifactError, match=f"no version '{gone}'"):
        getattr(PrunedMeanwhile(store.root), how)(gone, *([live] if how == "promote_over" else []))
    assert store.current() == live
    assert store.load().version == live
