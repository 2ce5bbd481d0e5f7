"""recae: a recommendation engine built on autoencoder collaborative filtering."""

__version__ = "0.1.0"
