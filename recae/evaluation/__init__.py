"""Offline evaluation: a protocol file in, honest and repeatable numbers out.

from recae.evaluation import evaluate, load_protocol, report

results = evaluate("evaluation/movielens-small.toml")
report.write(results, "evaluation/results/movielens-small")
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
