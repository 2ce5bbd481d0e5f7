"""The models in service: the promoted one, replaced when another one is, and others that requests name."""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, Self

from recae.api.errors import ApiError, not_ready, store_damaged
from recae.data.catalogue import shown_title
from recae.errors import ArtifactError, EventLogError, RecaeError
from recae.recommender import Recommender

if TYPE_CHECKING:
    from recae.api.item_changes import ItemChanges
    from recae.api.live_items import LiveItems
    from recae.artifacts import ModelStore

logger = logging.getLogger(__name__)

CURRENT = "current"
RETRY_S = 30.0
"""A version that could not be loaded is tried again after this long: reading and hashing it is work."""


class Observer(Protocol):
    """Who is told of models that come into service, or fail to."""

    def model_loaded(self, version: str, replaced: str | None) -> None:
        """Told after a version has come into service."""

    def model_failed(self) -> None:
        """Told after a version could not be loaded."""


class ServedModel:
    """Hands out recommenders; a request keeps the one it started with.

    Args:
        store: where versions are; None for a recommender that never changes.
        recommender: what to serve until the store says otherwise.
        live: the catalogue as it is now; None for the one that each model was trained with.
        named: further names of versions.
        max_others: most models kept in memory beside the one in service.
        ahead: names or versions of models that are read before anybody asks for them.
        observer: who is told of every change.
    """

    def __init__(
        self,
        store: "ModelStore | None" = None,
        recommender: Recommender | None = None,
        *,
        live: "LiveItems | None" = None,
        named: Mapping[str, str] | None = None,
        max_others: int = 2,
        ahead: Collection[str] = (),
        observer: Observer | None = None,
    ) -> None:
        self._store = store
        self._observer = observer
        self._recommender = recommender
        self._live = live
        self._named = dict(named or {})
        self._changes: ItemChanges | None = None
        self._followed = b""
        self._max_others = max_others
        self._ahead = ahead
        self._others: OrderedDict[str, Recommender] = OrderedDict()
        self._changing = threading.RLock()  # whoever exchanges recommenders
        self._looking = threading.Lock()  # whoever finds out which version is in service
        self._loading = threading.Lock()  # whoever reads another model, which may take seconds
        self._failed: tuple[str | None, float] = (None, -math.inf)  # version, monotonic time
        self._failed_others: dict[str, tuple[str, float]] = {}  # version -> reason, monotonic time
        self._closed = threading.Event()
        self._n_loading = 0
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

    @property
    def makes_passes(self) -> bool:
        """Whether requests for the model in service wait for passes through its weights."""
        return self._recommender is not None and self._recommender.model.reads_all_weights

    def recommender(self, model: str = CURRENT) -> Recommender:
        """The recommender in service, or the one of another model.

        Args:
            model: "current", a version, or a name of the settings.

        Raises:
            ApiError: 503 with the reason, if no model is loaded yet or the one named cannot be; 404, if there is none.
        """
        version = self.meaning_of(model)
        if version == CURRENT and self._recommender is None:  # said without the database, which may be why
            raise not_ready(self.problem or "no model is loaded")
        if self._live is not None:
            self._follow_others()
        if version in (CURRENT, self.version) and self._recommender is not None:
            return self._recommender
        found = self._others.get(version)
        if found is None:
            return self._load_other(model, version)
        with self._changing:
            if version in self._others:
                self._others.move_to_end(version)
        return found

    def meaning_of(self, model: str) -> str:
        """What a name stands for: a version, or "current"."""
        return self._named.get(model, model)

    def version_of(self, model: str) -> str:
        """The version that a name stands for now."""
        version = self.meaning_of(model)
        return self.version if version == CURRENT else version

    @property
    def is_loading(self) -> bool:
        """Whether a model is being read, for which libraries may be imported."""
        return self._n_loading > 0

    def peek(self) -> Recommender | None:
        """The recommender in service, or None; asks no database."""
        return self._recommender

    def titles(self, item_ids: Iterable[str]) -> dict[str, str | None]:
        """What items are called in the catalogue as it is now, whether or not the model in service knows them.

        Raises:
            EventLogError: if the stored items had to be read, and the database fails.
        """
        if self._live is not None:
            self._follow_others()
        recommender = self._recommender
        found: dict[str, str | None] = {}
        for item_id in item_ids:
            if recommender is not None and item_id in recommender.items:
                found[item_id] = recommender.title(item_id)
            else:
                line = self._live.line(item_id) if self._live is not None else None
                found[item_id] = None if line is None else shown_title(line)
        return found

    def is_removed(self, item_id: str) -> bool:
        """Whether an item was removed from the catalogue, and not stored again since."""
        return self._live is not None and self._live.is_removed(item_id)

    def refresh(self) -> None:
        """Read what has changed among the items, and load the promoted version, unless it is loaded already.

        One look at a time: an earlier one that ends later would tell of a state that is past.
        """
        with self._looking:
            self._look()

    def _look(self) -> None:
        version, items_problem = None, None
        try:
            version = self._store.current() if self._store is not None else self.version
            if version is not None:  # without a model nothing is shown, and no database is made
                items_problem = self._items_problem()
            if self._store is None:
                return
            if version is None:
                self.problem = f"no model is in service in {self._store.root}; run `recae train`"
                return
            if version != self.version:
                if self._failed_lately(version):
                    return
                fresh = self._read(self._store, version)
                if self._live is not None and not self._live.is_loaded:  # nothing hidden may show meanwhile
                    self.problem = items_problem
                    return
                replaced = self._recommender.version if self._recommender else None
                with self._changing:  # no change of an item falls between reading the items and the exchange
                    self._recommender = self._live.over(fresh) if self._live else fresh
                self.loaded.set()
                if self._observer:
                    self._observer.model_loaded(version, replaced)
                logger.info("model version %s is in service", version)
            self.problem = items_problem
        except Exception as error:  # whatever is wrong with a version, the one in service goes on
            self.problem = str(error) if isinstance(error, RecaeError) else f"{type(error).__name__}: {error}"
            if self._failed_lately(version):
                return  # the note of what is in service is looked at each time, and told of once
            self._failed = (version, time.monotonic())
            if self._observer:
                self._observer.model_failed()
            logger.exception("model version %s cannot be loaded", version or "in service")
        finally:
            self.looked.set()

    def _items_problem(self) -> str | None:
        """Why the items cannot be followed; what was read of them before goes on to count."""
        try:
            self.follow_items()
        except EventLogError as error:
            logger.warning("items cannot be followed: %s", error)
            return str(error)
        return None

    def follow_items(self) -> None:
        """Bring all loaded models to the catalogue as it is now.

        Raises:
            EventLogError: if the database fails.
        """
        if self._live is None:
            return
        with self._changing:
            changed = self._live.poll()
            if not changed:
                return
            for version, other in self._others.items():
                self._others[version] = other.with_items(changed)
            if self._recommender is not None:
                self._recommender = self._recommender.with_items(changed)

    def items_changed(self) -> None:
        """Follow a change that this process has made, and tell the others of it: it counts in each request from now on.

        Raises:
            EventLogError: if the database fails.
        """
        if self._changes is not None:
            self._changes.tell()
        self.follow_items()

    def share(self, changes: "ItemChanges") -> None:
        """Hear of items that other processes change through this."""
        self._changes = changes

    def _follow_others(self) -> None:
        """Read the items if they were not read yet, or another process has changed some since.

        Raises:
            EventLogError: if the database fails: what was hidden must not show.
        """
        word = self._changes.word() if self._changes is not None else b""
        if word != self._followed or (self._live is not None and not self._live.is_loaded):
            self.follow_items()
            self._followed = word  # as it was before the look

    def watch(self, every_s: float) -> Self:
        """Refresh now and then every so many seconds, in a background thread, until `close`."""

        def loop() -> None:
            self.refresh()
            # in a thread of its own: seconds of reading would hold up whoever is promoted meanwhile
            threading.Thread(target=self._load_ahead, name="recae-models-ahead", daemon=True).start()
            while not self._closed.wait(every_s):
                self.refresh()

        threading.Thread(target=loop, name="recae-model-watch", daemon=True).start()
        return self

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()

    def _load_ahead(self) -> None:
        for model in self._ahead:
            try:
                self.recommender(model)
            except (
                Exception
            ):  # whatever is wrong with it, the others are loaded; requests try again, and tell of it
                logger.warning("model %s was not loaded ahead", model, exc_info=True)

    def _load_other(self, model: str, version: str) -> Recommender:
        if self._store is None or version not in self._store.versions():
            names = ", ".join([CURRENT, *self._named])
            message = (
                f"there is no model {model!r}; expected {names}, or a stored version, see GET /v1/models"
            )
            raise ApiError(HTTPStatus.NOT_FOUND, "unknown_model", message, "model")
        with self._loading:
            found = self._others.get(version)  # another request may have loaded it meanwhile
            if found is not None:
                return found
            reason, when = self._failed_others.get(version, ("", -math.inf))
            if time.monotonic() - when < RETRY_S:
                raise store_damaged(reason)
            try:
                fresh = self._read(self._store, version)
            except ArtifactError as error:
                self._failed_others[version] = str(error), time.monotonic()
                raise store_damaged(str(error)) from error
            self._failed_others.pop(version, None)
            with self._changing:
                found = self._others[version] = self._live.over(fresh) if self._live else fresh
                while len(self._others) > self._max_others:
                    self._others.popitem(last=False)
        return found

    def _read(self, store: "ModelStore", version: str) -> Recommender:
        with self._changing:
            self._n_loading += 1
        try:
            return _loaded(store, version)
        finally:
            with self._changing:
                self._n_loading -= 1

    def _failed_lately(self, version: str | None) -> bool:
        failed, when = self._failed
        return version == failed and time.monotonic() - when < RETRY_S


def _loaded(store: "ModelStore", version: str) -> Recommender:
    recommender = store.load(version).recommender()
    recommender.recommend(
        [recommender.items[0]], 1
    )  # what is made at first use is made before the first request
    recommender.popular(1)
    return recommender
