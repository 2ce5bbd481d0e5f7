"""The nightly run: from the event log to a better model in service, or to the old one and a reason.

runs        the table of runs, true at any moment
nightdata   the log up to a watermark, cut into what is learned from and what is asked
contenders  candidate, live model and baselines on the same questions, as they serve
gate        rules that decide
nightly     the steps of a run
drift       how the new events differ
report      the run as a page
notify      who is told
schedule    when it runs
"""

from recae.retrain.nightly import retrain
from recae.runs import Run, RunTable, Step, Verdict

__all__ = ["Run", "RunTable", "Step", "Verdict", "retrain"]
