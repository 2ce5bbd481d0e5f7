"""recae: a recommendation engine built on autoencoder collaborative filtering.

Packages, each with a map of its own: `data` reads and stores, `models` learn, `evaluation` measures, `batch` answers for
everybody, `retrain` runs at night, `api` and `client` speak HTTP, `cli` is the program `recae`; `simulation` tries it all
over a year. Here stands what several of them need:

what answers requests
    recommender  from a history to the best items; ranker, the same for batches and without a history
    histories    what is known of a user as a row of the matrix; history_rule, what events come to
    candidates   which items are left to choose from; diversity, which do not say the same
    explanations why an item was recommended; answers, what all of it is answered with
    grouping     work that many wait for, done once
models on disk
    artifacts    the store; manifest, what a version says of itself; in_service, which one serves; comparison, what has changed
what the operator sets and sees
    config       settings; retrain_settings, those of the night; keys, who may ask
    runs         the table of runs; progress, bars and lines; errors, all that are raised on purpose
the machine
    machine      what there is; memory and threads, how much of it is taken; durable, files that survive a crash
"""

import os

# Threads that wait for each other by spinning make training ten times slower as soon as anything else wants a core
# (20 epochs of Mult-VAE beside one busy process on 2 cores: 39 s spinning, 4.8 s sleeping). Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
