"""Offline evaluation: a protocol file in, honest and repeatable numbers out.

from recae.evaluation import evaluate, load_protocol, report

results = evaluate("evaluation/movielens-small.toml")
report.write(results, "evaluation/results/movielens-small")
"""

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
