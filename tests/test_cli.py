"""The command line: answers for people and for programs, errors in one line, exit codes."""

import json
import os
import re
from importlib.metadata import version as version_of
from pathlib import Path

import pytest
from click.testing import CliRunner

from recae.api import server
from recae.artifacts import WEIGHTS, ModelStore
from recae.cli import cli
from recae.data import sample
from recae.data.interactions import Interactions
from recae.evaluation import protocol as protocols
from recae.evaluation import runner
from recae.models import create, trainer
from tests.tastes import CATALOGUE, ITEMS, LIKES, USERS, fitted_ease


@pytest.fixture(autouse=True)
def one_thread(tmp_path, monkeypatch):
    monkeypatch.setenv("RECAE_THREADS", "1")
    monkeypatch.setenv("RECAE_DATA", str(tmp_path))  # evaluate sets it; this undoes that
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(home):
    return ModelStore(home / "models")


@pytest.fixture
def version(store):
    version = store.save(fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE)
    store.promote(version)
    return version


@pytest.fixture
def log(tmp_path):
    pairs = LIKES.tocoo()
    lines = [f"{USERS[row]},{ITEMS[column]}" for row, column in zip(*pairs.coords, strict=True)]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["user_id,item_id", *lines]) + "\n")
    return path


def run(*arguments, code=0):
    """Standard output of a command that ends with ``code``; for an error, what it wrote to stderr."""
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def one_line(text):
    assert text.startswith("Error: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text


# ------------------------------------------------------------------ recommend, similar


def test_a_damaged_version_does_not_hide_the_others(store, version):
    other = store.save(fitted_ease(), ITEMS)
    (store.root / other / "manifest.json").write_text("{")

    done = CliRunner().invoke(cli, ["models", "list"])

    assert done.exit_code == 0
    assert version in done.stdout
    assert f"{other}/manifest.json cannot be read" in done.stderr


def test_recommend_shows_titles_for_a_user(version):
    shown = run("recommend", "1", "-n", "2")

    assert "Contact (1997)" in shown
    assert "for user 1 (model, " in shown


def test_recommend_for_programs_is_json_with_every_field(version):
    answer = json.loads(run("recommend", "1", "-n", "1", "--json"))

    assert answer.pop("items")[0] | {"score": 0} == {
        "item_id": "c",
        "title": "Contact (1997)",
        "rank": 1,
        "score": 0,
        "explanation": [],
    }
    assert answer == {
        "model_version": version,
        "user_id": "1",
        "short": None,
        "strategy": "model",
        "unknown_items": [],
        "next_offset": 1,
    }


def test_items_may_be_named_by_id_and_by_title_in_any_case(version):
    by_id = json.loads(run("recommend", "--items", "a", "--items", "b", "--json"))
    by_title = json.loads(run("recommend", "--items", "alien (1979)", "--items", "Brazil", "--json"))

    assert by_id["strategy"] == "fold_in"
    assert by_id["items"] == by_title["items"]


def test_recommend_takes_categories_and_seen_items(version):
    answer = json.loads(run("recommend", "1", "--category", "horror", "--include-seen", "--json"))

    assert [item["item_id"] for item in answer["items"]] == ["a"]
    assert "short: 1 item(s) are left" in run("recommend", "1", "--category", "horror", "--include-seen")


def test_recommend_shows_what_speaks_for_each_item(version):
    shown = run("recommend", "--items", "a", "--items", "x", "--explain", "3")
    answer = json.loads(run("recommend", "1", "-n", "1", "--explain", "1", "--json"))

    assert "because of" in shown
    assert re.search(r"Contact \(1997\).*Alien \(1979\) \+0\.\d{4}", shown)
    assert "because of" not in run("recommend", "1"), "no column without a reason"
    (reason,) = answer["items"][0]["explanation"]
    assert reason["title"] in {"Alien (1979)", "Brazil (1985)"}
    assert 0 < reason["contribution"] < answer["items"][0]["score"]


def test_recommend_takes_a_diversity(version):
    def ids(*options):
        answer = json.loads(run("recommend", "--items", "b", *options, "--json"))
        return [item["item_id"] for item in answer["items"]]

    assert ids("--diversity", "0") == ids()
    assert sorted(ids("--diversity", "1")) == sorted(ids())
    assert ids("--diversity", "1")[0] == ids()[0]
    assert ids("--diversity", "1") != ids()
    assert "1.5 is not in the range 0.0<=x<=1.0" in run("recommend", "1", "--diversity", "1.5", code=2)


def test_recommend_shows_unavailable_items_only_if_asked_to(store):
    sold_out = type(CATALOGUE)(item._replace(available=item.item_id != "c") for item in CATALOGUE)
    store.promote(store.save(fitted_ease(), ITEMS, users=USERS, catalogue=sold_out))

    assert "Contact (1997)" not in run("recommend", "1")
    assert "Contact (1997)" in run("recommend", "1", "--include-unavailable")


def test_an_ambiguous_title_is_answered_with_the_choices(version):
    message = one_line(run("recommend", "--items", "Hamlet", code=1))

    assert "the title of 2 items" in message
    assert "x (Hamlet (1948)), y (Hamlet (1990))" in message


def test_an_unknown_title_is_answered_with_what_is_like_it(version):
    assert "did you mean 'Brazil (1985)'" in one_line(run("recommend", "--items", "Brasil", code=1))


def test_recommend_for_nobody_is_wrong_usage(version):
    assert "name a user, or items with --items" in run("recommend", code=2)


def test_similar_by_title(version):
    answer = json.loads(run("similar", "Alien", "-n", "2", "--json"))

    assert answer["item_id"] == "a"
    assert {item["item_id"] for item in answer["items"]} == {"b", "c"}
    assert "similar to Alien (1979)" in run("similar", "a")


def test_square_brackets_in_a_title_are_shown_as_they_are(store):
    item = CATALOGUE.item("c")._replace(title="[bold]Contact[/nonsense]")
    catalogue = type(CATALOGUE)([item, *(CATALOGUE.item(id_) for id_ in "abxyz")])
    store.promote(store.save(fitted_ease(), ITEMS, users=USERS, catalogue=catalogue))

    assert "[bold]Contact[/nonsense]" in run("recommend", "1")


# ------------------------------------------------------------------ errors


def test_without_a_model_the_error_says_what_to_do():
    assert "run `recae train`" in one_line(run("recommend", "1", code=1))


def test_a_damaged_model_is_one_line(store, version):
    (store.root / version / WEIGHTS).write_bytes(b"")

    assert f"{WEIGHTS} is not what was saved" in one_line(run("recommend", "1", code=1))


def test_debug_shows_the_whole_traceback():
    done = CliRunner().invoke(cli, ["--debug", "recommend", "1"])

    assert type(done.exception).__name__ == "ArtifactError"


def test_a_bad_setting_is_one_line(monkeypatch):
    monkeypatch.setenv("RECAE_PROT", "1")

    assert "did you mean RECAE_PORT" in one_line(run("models", "list", code=1))


def test_ctrl_c_ends_with_130(monkeypatch, version):
    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelStore, "load", interrupted)

    assert run("recommend", "1", code=130) == "stopped\n"


def test_an_unknown_command_or_option_is_wrong_usage():
    assert "No such command" in run("recomend", code=2)
    assert "No such option" in run("similar", "--m", code=2)


# ------------------------------------------------------------------ models


def test_models_are_listed_promoted_and_rolled_back(store, version):
    successor = store.save(fitted_ease(l2=9.0), ITEMS)

    assert run("models", "promote", successor) == f"promoted {successor} (was {version})\n"
    listed = json.loads(run("models", "list", "--json"))
    assert {row["version"]: row["current"] for row in listed} == {version: False, successor: True}
    assert version in run("models", "list")
    assert json.loads(run("models", "show"))["config"] == {"l2": 9.0}
    assert run("models", "rollback") == f"serving {version} again (was {successor})\n"
    assert store.current() == version


def test_an_empty_store_says_so():
    assert "no models in" in run("models", "list")
    assert json.loads(run("models", "list", "--json")) == []
    assert "run `recae train`" in one_line(run("models", "show", code=1))


# ------------------------------------------------------------------ train, evaluate


def test_a_log_becomes_a_model_in_service(store, log):
    shown = run("train", log, "--model", "ease", "--set", "l2=1.0")
    answer = json.loads(run("recommend", "1", "-n", "1", "--json"))

    assert store.current() in shown
    assert answer["items"][0]["item_id"] == "c"
    assert store.manifest(store.current()).config == {"l2": 1.0}


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


def test_a_setting_without_a_value_is_wrong_usage(log):
    assert "write KEY=VALUE" in run("train", log, "--set", "l2", code=2)


def test_a_missing_log_is_one_line():
    assert "nowhere.csv" in one_line(run("train", "nowhere.csv", code=1))


PROTOCOL = """
name = "two-tastes"
[data]
path = "log.csv"
[split]
kind = "held_out_users"
validation_users = 2
test_users = 2
fold_in = 0.5
[metrics]
report = ["ndcg@3"]
select = "ndcg@3"
[[models]]
name = "popularity"
[[models]]
name = "ease"
search = { l2 = [1.0, 5.0] }
"""


@pytest.fixture
def protocol(tmp_path):
    """Twelve users who like all of one taste: enough to hold some out."""
    tastes = [("abc", range(6)), ("xyz", range(6, 12))]
    lines = [f"{user},{item}" for taste, users in tastes for user in users for item in taste]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id", *lines]) + "\n")
    path = tmp_path / "two-tastes.toml"
    path.write_text(PROTOCOL)
    return path


def test_evaluate_prints_the_table_with_what_it_means_and_writes_the_results(protocol, tmp_path):
    shown = run("evaluate", protocol, "--output", tmp_path / "results")

    for words in ("popularity", "ease", "ndcg", "@3", "ndcg: gain"):
        assert words in shown
    assert json.loads((tmp_path / "results" / "results.json").read_text())["protocol"]["name"] == "two-tastes"


def test_evaluate_for_programs_is_json(protocol):
    assert [model["name"] for model in json.loads(run("evaluate", protocol, "--json"))["models"]] == [
        "popularity",
        "ease",
    ]


def test_a_missing_protocol_is_one_line():
    assert "nowhere.toml" in one_line(run("evaluate", "nowhere.toml", code=1))


# ------------------------------------------------------------------ serve, demo


def test_serve_refuses_a_host_that_others_can_reach(version):
    assert "no API keys" in one_line(run("serve", "--host", "0.0.0.0", code=1))


def test_serve_hands_its_options_to_the_server_and_says_if_there_is_no_model(monkeypatch):
    served = []
    monkeypatch.setattr(server, "serve", served.append)
    done = CliRunner().invoke(cli, ["serve", "--port", "8123", "--workers", "2"])

    assert "no model is in service" in done.stderr
    assert [(settings.port, settings.workers) for settings in served] == [(8123, 2)]


@pytest.fixture
def small_demo(protocol, monkeypatch):
    """The demo on the two tastes, and a list of what would have been executed at its end."""
    executed = []
    monkeypatch.setattr(sample, "load_sample", lambda: (Interactions(LIKES, USERS, ITEMS), CATALOGUE))
    monkeypatch.setattr(protocols, "sample_protocol_path", lambda: protocol)
    monkeypatch.setattr(server, "check_free", lambda _settings: None)
    monkeypatch.setattr(os, "execv", lambda _program, arguments: executed.append(arguments))
    return executed


def test_the_demo_evaluates_trains_what_validation_chose_and_serves(small_demo, store, home):
    shown = run("demo", "--port", "8123")
    manifest = store.manifest(store.current())

    assert "popularity" in shown
    assert manifest.model == "ease"
    assert manifest.config["l2"] in {1.0, 5.0}
    assert set(manifest.metrics) == {"ndcg@3"}
    ((program, *arguments),) = small_demo
    assert Path(program).name.startswith("python")
    assert arguments[-7:] == ["-m", "recae", "--home", str(home), "serve", "--port", "8123"]


def test_a_second_demo_shows_the_same_table_without_computing_anything(small_demo, store, monkeypatch):
    first = run("demo", "--no-serve")
    monkeypatch.setattr(runner, "evaluate", lambda *_, **__: pytest.fail("evaluated again"))
    monkeypatch.setattr(ModelStore, "save", lambda *_, **__: pytest.fail("trained again"))

    assert run("demo", "--no-serve") == first
    assert small_demo == [], "--no-serve must not serve"


def test_retrain_computes_anew_and_promotes_the_new_model(small_demo, store):
    run("demo", "--no-serve")
    before = store.current()
    run("demo", "--no-serve", "--retrain")

    assert store.current() != before
    assert store.rollback() == before


def test_the_demo_keeps_a_model_that_is_in_service(small_demo, store, version):
    assert f"model in service: {version}" in run("demo", "--no-serve")
    assert store.versions() == [version]


# ------------------------------------------------------------------ doctor


def test_doctor_for_programs_tells_what_is_there_and_what_was_chosen(home):
    found = json.loads(run("doctor", "--json"))

    assert found["processor"]["cores"] >= 1
    assert found["versions"]["torch"] == version_of("torch")
    assert found["memory"]["total"] > 2**28
    assert found["chosen"]["threads"] == 1
    assert found["chosen"]["precision"] in {"float32", "bfloat16"}
    assert {pool["threads"] for pool in found["pools"]} == {1}
    assert found["home"] == {"path": str(home.absolute()), "exists": home.exists(), "writable": True}


def test_doctor_for_people_says_the_same_in_words(home):
    shown = run("doctor")

    for word in ("processor", "memory", "GiB", "precision", "1 threads", "writable"):
        assert word in shown
    assert not home.exists(), "looking changes nothing"


def test_doctor_says_when_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()

    assert "NOT writable" in run("--home", tmp_path / "file" / "home", "doctor")
