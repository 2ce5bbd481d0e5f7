"""The model in service: loaded in the background, replaced when another one is promoted."""

import logging
import threading
import time
from typing import TYPE_CHECKING, Protocol, Self

from recae.api.errors import not_ready
from recae.errors import RecaeError
from recae.recommender import Recommender

if TYPE_CHECKING:
    from recae.artifacts import ModelStore

logger = logging.getLogger(__name__)

RETRY_S = 30.0
"""A version that could not be loaded is tried again after this long: reading and hashing it is work."""


class Observer(Protocol):
    """Who is told of models that come into service, or fail to."""

    def model_loaded(self, version: str, replaced: str | None) -> None:
        """Told after a version has come into service."""

    def model_failed(self) -> None:
        """Told after a version could not be loaded."""


class ServedModel:
    """Hands out the recommender in service; requests keep the one they started with.

    Args:
        store: where promoted versions are; None for a recommender that never changes.
        recommender: what to serve until the store says otherwise.
        observer: who is told of every change.
    """

    def __init__(
        self,
        store: "ModelStore | None" = None,
        recommender: Recommender | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._store = store
        self._observer = observer
        self._recommender = recommender
        self._failed: tuple[str | None, float] = (None, 0.0)  # version, monotonic time
        self._closed = threading.Event()
        self.problem: str | None = None if recommender else "the model is being loaded; ask again in a moment"
        """Why the newest promoted model is not the one served."""
        self.loaded = threading.Event()
        """Set when the first model is there."""
        self.looked = threading.Event()
        """Set after the first look for a model, whatever it found."""
        if store is None:
            self.looked.set()

    @property
    def version(self) -> str:
        """Version in service, or "none"."""
        return self._recommender.version if self._recommender else "none"

    def recommender(self) -> Recommender:
        """The recommender in service.

        Raises:
            ApiError: 503 with the reason, if no model is loaded yet.
        """
        if self._recommender is None:
            raise not_ready(self.problem or "no model is loaded")
        return self._recommender

    def refresh(self) -> None:
        """Load the promoted version, unless it is loaded already."""
        if self._store is None:
            return
        version = None
        try:
            version = self._store.current()
            if version is None:
                self.problem = f"no model is in service in {self._store.root}; run `recae train`"
                return
            if version != self.version:
                if self._failed_lately(version):
                    return
                replaced = self._recommender.version if self._recommender else None
                self._recommender = _loaded(self._store, version)
                self.loaded.set()
                if self._observer:
                    self._observer.model_loaded(version, replaced)
                logger.info("model version %s is in service", version)
            self.problem = None
        except Exception as error:  # whatever is wrong with a version, the one in service goes on
            self._failed = (version, time.monotonic())
            self.problem = str(error) if isinstance(error, RecaeError) else f"{type(error).__name__}: {error}"
            if self._observer:
                self._observer.model_failed()
            logger.exception("model version %s cannot be loaded", version)
        finally:
            self.looked.set()

    def watch(self, every_s: float) -> Self:
        """Refresh now and then every so many seconds, in a background thread, until `close`."""

        def loop() -> None:
            self.refresh()
            while not self._closed.wait(every_s):
                self.refresh()

        threading.Thread(target=loop, name="recae-model-watch", daemon=True).start()
        return self

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()

    def _failed_lately(self, version: str) -> bool:
        failed, when = self._failed
        return version == failed and time.monotonic() - when < RETRY_S


def _loaded(store: "ModelStore", version: str) -> Recommender:
    stored = store.load(version)
    recommender = Recommender(
        stored.model, stored.items, users=stored.users, catalogue=stored.catalogue, version=version
    )
    recommender.recommend([stored.items[0]], 1)  # what is made at first use is made before the first request
    recommender.popular(1)
    return recommender
