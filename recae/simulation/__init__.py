"""A year in minutes: days of a generated or given log through ingest, retrain, gate and serve.

world   users whose tastes drift, items that appear, and days of garbage
year    day after day, for several habits of retraining side by side
page    what it comes to, as a plot and a table
"""

from recae.simulation.world import World, WorldSettings, replayed
from recae.simulation.year import Year, simulate

__all__ = ["World", "WorldSettings", "Year", "replayed", "simulate"]
