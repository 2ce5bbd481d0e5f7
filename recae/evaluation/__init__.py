"""Offline evaluation: a protocol file in, honest and repeatable numbers out.

from recae.evaluation import evaluate, load_protocol, report

results = evaluate("evaluation/movielens-small.toml")
report.write(results, "evaluation/results/movielens-small")

What is asked:
    protocol        a TOML file; sections, its tables; specs, metrics by name
    datasets        its data and split; leakage, what would make a number too good
The way to an answer:
    runner          protocol in, results out
    contenders      every combination of a model's settings; shelf, fitted models that a blend wants
    task            split and judging, which the models share; rows, one model with all that was tried and tested
    scoring         one model on one holdout; lists, of one batch of users; exact_order, scores beyond float32
    metrics         of what is right; beyond_accuracy, of what a list is like; item_facts, what those need to know
    outsiders       models of others; exports, the split for them
    journal         what a stopped evaluation goes on from
What is found:
    results         all of it; records, what it consists of; facts, of the data; per_user, the value of each user
    statistics      how far a mean can be trusted; segments, groups of users; examples, a few to look at
    compare         several results side by side; frames, as pandas DataFrames
    report          files for people; console, a table; page, HTML; pages, what pages share; charts, plots
    tuning          a search by Optuna; search, what it is to try and what came of it; tuning_report, its files
    online          an experiment with users
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recae.evaluation import frames, report
    from recae.evaluation.datasets import load_split, split_for
    from recae.evaluation.protocol import Protocol, load_protocol, sample_protocol_path
    from recae.evaluation.results import Results
    from recae.evaluation.runner import evaluate, judge

__all__ = [
    "Protocol",
    "Results",
    "evaluate",
    "frames",
    "judge",
    "load_protocol",
    "load_split",
    "report",
    "sample_protocol_path",
    "split_for",
]

PLACES = {
    "Protocol": "protocol",
    "Results": "results",
    "evaluate": "runner",
    "judge": "runner",
    "load_protocol": "protocol",
    "load_split": "datasets",
    "sample_protocol_path": "protocol",
    "split_for": "datasets",
}
"""Name -> the module it is defined in, which is loaded when the name is first used: who compares results needs no torch."""


def __getattr__(name: str) -> Any:
    if name in PLACES:
        return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
