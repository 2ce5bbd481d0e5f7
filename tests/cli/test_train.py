"""`recae train`: from a log to a model in service."""

import json

import pytest
from click.testing import CliRunner

from recae.cli import cli
from recae.data import sample
from recae.data.interactions import Interactions
from recae.models import create, trainer
from tests.cli.conftest import one_line, run
from tests.tastes import CATALOGUE, ITEMS, LIKES, USERS


@pytest.fixture
def log(tmp_path):
    pairs = LIKES.tocoo()
    lines = [f"{USERS[row]},{ITEMS[column]}" for row, column in zip(*pairs.coords, strict=True)]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["user_id,item_id", *lines]) + "\n")
    return path


def test_a_log_becomes_a_model_in_service(store, log):
    shown = run("train", log, "--model", "ease", "--set", "l2=1.0")
    answer = json.loads(run("recommend", "1", "-n", "1", "--json"))

    assert store.current() in shown
    assert answer["items"][0]["item_id"] == "c"
    assert store.manifest(store.current()).config["l2"] == 1.0


def test_what_a_model_measured_of_itself_is_said_and_stands_in_the_manifest(store, log):
    settings = ("n_hidden=8", "n_active=2", "epochs=1")
    shown = run(
        "train", log, "--model", "sparse_ae", *(part for each in settings for part in ("--set", each))
    )

    assert "activity: 0.25\n" in shown
    assert store.manifest(store.current()).measured == {"activity": 0.25}


def test_training_need_not_promote(store, log, version):
    trained = json.loads(run("train", log, "--no-promote", "--json"))

    assert store.current() == version
    assert (trained["version"] in store.versions(), trained["promoted"]) == (True, False)


def test_other_column_names_and_a_catalogue_may_be_given(store, log, tmp_path):
    log.write_text(log.read_text().replace("user_id,item_id", "who,what"))
    CATALOGUE.write(tmp_path / "films.parquet")
    run(
        "train",
        log,
        "--column",
        "user_id=who",
        "--column",
        "item_id=what",
        "--catalogue",
        tmp_path / "films.parquet",
    )

    assert store.load().catalogue.title("c") == "Contact (1997)"


def test_events_below_the_minimum_do_not_count_and_the_rest_counts_as_one(store, tmp_path):
    log = tmp_path / "ratings.csv"
    log.write_text("user_id,item_id,value,timestamp\n1,a,5,100\n1,b,4,200\n2,a,1,300\n2,b,4,250\n")
    run("train", log, "--min-value", "4")
    stored = store.load()

    assert stored.model.histories_.toarray().tolist() == [[1, 1], [0, 1]]
    assert stored.manifest.watermark == 250


def test_events_from_the_future_are_set_aside_as_an_ingest_does_it(store, home, tmp_path):
    log = tmp_path / "ratings.csv"
    log.write_text("user_id,item_id,timestamp\n1,a,100\n1,b,200\n2,a,300\n2,b,4070908800\n")

    said = run("train", log, code=1)
    assert "timestamp is in the future" in said

    run("train", log, "--max-bad-share", "0.5")
    assert store.manifest(store.current()).watermark == 300
    assert "timestamp is in the future" in (home / "quarantine" / "ratings.csv.jsonl").read_text()


def test_the_sample_is_the_default_with_its_own_minimum(store, monkeypatch):
    ratings = LIKES.copy()
    ratings.data[:] = 4.0
    ratings.data[-1] = 3.5  # user 7 and item a
    monkeypatch.setattr(sample, "load_sample", lambda: (Interactions(ratings, USERS, ITEMS), CATALOGUE))
    run("train", "--set", "l2=1")

    assert "7" not in store.load().users
    assert store.load().catalogue.title("c") == "Contact (1997)"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "eese"], "no model is named 'eese'"),
        (["--set", "l3=1"], "l3"),
        (["--set", "l2=-1"], "l2"),
        (["--column", "user=who"], "no column user to map"),
    ],
)
def test_a_mistake_in_training_is_one_line(log, arguments, words):
    errors = run("train", log, *arguments, code=1)

    assert words in one_line(errors.splitlines(keepends=True)[-1])


def test_an_interrupted_training_is_resumed_and_leaves_no_checkpoint(store, log, home, monkeypatch):
    arguments = ["train", log, "--model", "mult_vae", "--set", "epochs=4", "--set", "n_hidden=4", "--json"]
    whole = json.loads(run(*arguments))
    saved = trainer.write_state

    def killed_after_two(file, state, **metadata):
        saved(file, state, **metadata)
        if len(state["log"]["losses"]) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "write_state", killed_after_two)
    run(*arguments, code=130)
    assert [path.name for path in (home / "checkpoints").iterdir()] == ["mult_vae.final"]

    epochs = []
    monkeypatch.setattr(trainer, "write_state", lambda *args, **kw: epochs.append(1) or saved(*args, **kw))
    resumed = json.loads(run(*arguments, "--resume"))

    assert len(epochs) == 2
    assert resumed["files"]["weights.safetensors"] == whole["files"]["weights.safetensors"]
    assert list((home / "checkpoints").iterdir()) == []


def test_training_says_whether_it_goes_on_from_a_checkpoint(log, home):
    arguments = ["train", log, "--model", "mult_vae", "--set", "epochs=1", "--set", "n_hidden=4", "--resume"]
    shown = CliRunner().invoke(cli, [str(argument) for argument in arguments]).stderr
    assert "no checkpoint of mult_vae" in shown
    assert "ease keeps no checkpoints" in trained(log, "--model", "ease", "--resume")

    create("mult_vae", epochs=1, n_hidden=4).fit(
        LIKES, False, checkpoint=str(home / "checkpoints/mult_vae.final")
    )
    shown = CliRunner().invoke(cli, [str(argument) for argument in arguments]).stderr
    assert "going on from the checkpoint" in shown


def trained(*arguments):
    """What `recae train` wrote to stderr."""
    done = CliRunner().invoke(cli, ["train", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stderr


def test_a_warm_start_trains_on_from_the_model_in_service(store, log):
    arguments = [log, "--model", "mult_vae", "--set", "n_hidden=4", "--set", "n_latent=2"]
    trained(*arguments, "--set", "epochs=3")
    before = store.load()
    log.write_text(log.read_text() + "8,w\n8,a\n")  # a new user, and a new item
    still = [*arguments, "--set", "epochs=1", "--set", "learning_rate=1e-30", "--warm-start"]
    assert f"training on from {before.version}" in trained(*still)

    now = store.load()
    rows = now.items.find(before.items)
    assert (len(now.items), len(before.items)) == (7, 6)
    for name in ("input.weight", "output.weight", "output.bias"):
        wanted = before.model.network_.state_dict()[name]
        assert now.model.network_.state_dict()[name][rows].equal(wanted)


def test_a_blend_is_trained_on_from_the_one_in_service(store, log):
    def members(rate):
        few = {"epochs": 1, "n_hidden": 4, "n_latent": 2, "learning_rate": rate}
        return "members=" + json.dumps([{"name": "popularity"}, {"name": "mult_vae", "settings": few}])

    arguments = [log, "--model", "blend", "--set", "weights=[1, 1]", "--set"]
    trained(*arguments, members(0.01))
    before = store.load()
    shown = trained(*arguments, members(1e-30), "--warm-start")
    assert f"training on from {before.version}" in shown
    assert "starting from the beginning" not in shown
    old, new = (
        each.model.members_[1].network_.state_dict()["output.weight"] for each in (before, store.load())
    )
    assert new.equal(old)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "mult_dae"], "mult_dae cannot start from a model of another kind, mult_vae"),
        (["--model", "mult_vae", "--set", "n_hidden=5"], "the earlier model's layers have other sizes"),
        (["--model", "ease"], "ease keeps nothing that another training could start from"),
    ],
)
def test_a_warm_start_that_is_not_possible_says_why_and_starts_from_the_beginning(
    store, log, arguments, reason
):
    few = ["--set", "epochs=1"] if "ease" not in arguments else []
    trained(log, "--model", "mult_vae", "--set", "n_hidden=4", "--set", "epochs=1")
    first = store.current()
    shown = trained(log, *arguments, *few, "--warm-start")
    assert f"starting from the beginning: {reason}" in shown
    assert store.current() != first


def test_a_warm_start_without_a_model_in_service_starts_from_the_beginning(store, log):
    shown = trained(log, "--model", "mult_vae", "--set", "epochs=1", "--set", "n_hidden=4", "--warm-start")
    assert "starting from the beginning: no model is in service in" in shown


def test_a_model_of_sequences_is_trained_from_times_and_answers_by_the_order_of_the_items(tmp_path):
    there = [(start + step) % 6 for start in range(6) for step in range(4)]
    back = [(start - step) % 6 for start in range(6) for step in range(4)]
    rows = [f"{place // 4},{item},{1000 + place % 4}" for place, item in enumerate(there + back)]
    log = tmp_path / "timed.csv"
    log.write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    settings = {
        "epochs": 40,
        "batch_size": 4,
        "learning_rate": 0.02,
        "n_next": 1,
        "dropout": 0,
        "kl_weight": 0,
    }
    sizes = {"n_embedding": 12, "n_hidden": 16, "n_latent": 6}
    options = [part for key, value in (settings | sizes).items() for part in ("--set", f"{key}={value}")]
    trained(log, "--model", "sequential_vae", *options)

    def first(*items):
        asked = [part for item in items for part in ("--items", item)]
        return json.loads(run("recommend", *asked, "-n", "1", "--json"))["items"][0]["item_id"]

    assert (first(1, 2, 3), first(3, 2, 1)) == ("4", "0")


def test_a_model_of_sequences_cannot_be_trained_without_times(log):
    errors = run("train", log, "--model", "sequential_vae", code=1)
    assert "have no times; map a timestamp column" in one_line(errors.splitlines(keepends=True)[-1])


def test_a_model_that_serves_no_strangers_says_so_when_it_is_trained(log):
    shown = CliRunner().invoke(cli, ["train", str(log), "--model", "bpr", "--set", "epochs=1"]).stderr
    assert "bpr knows only the users it is trained on" in shown


def test_a_wrong_model_name_shows_before_the_log_is_read(tmp_path):
    assert "no model is named 'esae'" in one_line(
        run("train", tmp_path / "absent.csv", "--model", "esae", code=1)
    )


def test_a_gpu_that_is_not_there_shows_before_the_log_is_read(tmp_path):
    assert "'cuda:99' is not on this host" in one_line(
        run("train", tmp_path / "absent.csv", "--model", "elsa", "--set", "device=cuda:99", code=1)
    )


def test_a_setting_without_a_value_is_wrong_usage(log):
    assert "write KEY=VALUE" in run("train", log, "--set", "l2", code=2)


def test_a_missing_log_is_one_line():
    assert "nowhere.csv" in one_line(run("train", "nowhere.csv", code=1))


def test_dislikes_are_not_learned_as_likings(store, log):
    users = {line.split(",")[0] for line in log.read_text().split("\n")[1:] if line}
    lines = [line + ",1" for line in log.read_text().splitlines()[1:]]
    lines += [f"{user},bad,-1" for user in users]
    log.write_text("\n".join(["user_id,item_id,value", *lines]) + "\n")
    done = CliRunner().invoke(cli, ["train", str(log), "--model", "ease", "--set", "l2=1.0"])

    assert f"{len(users)} interactions are left out: a value of 0 or less is no liking" in done.stderr
    assert store.load(store.current()).items == ITEMS


def test_a_model_of_ratings_is_not_trained_on_a_log_without_any(store, log):
    result = CliRunner().invoke(cli, ["train", str(log), "--model", "rating_means"])

    assert result.exit_code == 1
    assert "rating_means learns from ratings, and" in one_line(result.output)
    assert "has no column value: it has user_id, item_id; map the one with the ratings" in one_line(
        result.output
    )


def test_what_is_popular_lately_may_count_for_whom_nothing_is_known_of(store, log):
    lines = [f"{line},{1_000_000 + number}" for number, line in enumerate(log.read_text().splitlines()[1:])]
    lines.append(f"1,z,{1_000_000 + 86_400 * 40}")
    log.write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    answers = []
    for options in ([], ["--popular-days", "30"]):
        run("train", log, "--model", "ease", "--set", "l2=1.0", *options)
        answers.append(json.loads(run("recommend", "nobody", "-n", "1", "--json"))["items"][0])

    assert answers[0]["item_id"] == "a"
    assert (answers[1]["item_id"], answers[1]["score"]) == ("z", 1.0)


def test_without_times_nothing_is_popular_lately(store, log):
    result = CliRunner().invoke(cli, ["train", str(log), "--popular-days", "30"])

    assert (result.exit_code, one_line(result.stderr.splitlines()[-1] + "\n")) == (
        1,
        "Error: what is popular lately is asked for, and these interactions have no times\n",
    )
