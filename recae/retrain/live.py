"""The model in service as it was when a run began."""

from collections.abc import Sequence
from dataclasses import dataclass

from recae.artifacts import ModelStore, StoredModel
from recae.errors import ArtifactError
from recae.retrain.history import run_of
from recae.retrain.novelty import HowMade
from recae.runs import Run, RunTable


@dataclass(frozen=True)
class LiveModel:
    """What a candidate is compared with."""

    stored: StoredModel | None = None
    """None if no model is in service, or it cannot be read."""
    problem: str = ""
    """Why it cannot be read, if so."""
    how_made: HowMade | None = None
    """None if there is none that can be read."""

    @classmethod
    def of(
        cls, store: ModelStore, version: str | None, table: RunTable, earlier: Sequence[Run]
    ) -> "LiveModel":
        """Read a version.

        Args:
            store: where it is.
            version: its name; None if no model is in service.
            table: of runs, one of which may have made it.
            earlier: runs before this one, newest first, some of which may have compared with it.
        """
        if version is None:
            return cls()
        try:
            stored = store.load(version)
        except ArtifactError as error:
            return cls(problem=str(error))
        manifest = stored.manifest
        run = run_of(table, manifest.metrics.get("run_id"))
        met = [run.figures_of("data").get("newest") for run in earlier if run.live_version == version]
        first_met = next((newest for newest in reversed(met) if newest is not None), None)
        return cls(stored, how_made=HowMade(manifest.watermark, manifest.created, run, first_met))
