"""Data: from logs of events to matrices, and to questions with known answers.

    readers         logs in, one validated stream of events out
    places          where a log lies; queries, rows of another database
    formats         a log by its format; textlogs, lines of text; blocks, what all formats have in common
    columns         the fast way through whole columns; rows, the careful one; cleaning, from one to the other
    acceptance      what an event must meet to be stored; quarantine, what could not be used
    events          a stream as flat arrays; numbering, ids to numbers; ordering, sorted by cell of the matrix
    interactions    the matrix; idmap, ids of its rows and columns; filters, which events count
    splits          ways to divide it; holdout, what a split consists of
    catalogue       what is known about items; itemfiles, read from files
    sample          the bundled log
    benchmarks      public data with their splits; benchmark_titles, their titles; ncf, NCF's candidates

The log that events are appended to is a package of its own, eventlog.
"""
