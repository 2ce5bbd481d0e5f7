"""Offline evaluation: a protocol file in, honest and repeatable numbers out.

from recae.evaluation import evaluate, load_protocol, report

results = evaluate("evaluation/movielens-small.toml")
report.write(results, "evaluation/results/movielens-small")
"""

from recae.evaluation import report
from recae.evaluation.protocol import Protocol, load_protocol, sample_protocol_path
from recae.evaluation.results import Results
from recae.evaluation.runner import evaluate

__all__ = ["Protocol", "Results", "evaluate", "load_protocol", "report", "sample_protocol_path"]
