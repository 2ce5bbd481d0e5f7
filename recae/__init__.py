"""recae: a recommendation engine built on autoencoder collaborative filtering."""

import os

# Threads that wait for each other by spinning make training ten times slower as soon as anything else wants a core
# (20 epochs of Mult-VAE beside one busy process on 2 cores: 39 s spinning, 4.8 s sleeping). Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
