"""The nightly run: from the event log to a better model in service, or to the old one and a reason.

    nightly      a run from its beginning; resume, what becomes of one that was killed
    night        the steps of a run; upkeep, its last one
    live         the model in service; novelty, what is new to it
    reading      the log up to a watermark, weighed; nightdata, cut into what is learned from and what is asked
    candidates   the night's own models
    baselines    popularity and tuned matrix factorisation
    contenders   all of them on the same questions, as they serve
    judging      what each reaches; gate, rules that decide; history, what earlier runs say is usual
    drift        how the new events differ
    recorder     the record, step by step; report, its page; notify, who is told
    patient_log  a log whose database may be away
    schedule     when it runs

The table of runs, which the HTTP API reads too, is `recae.runs`.
"""
