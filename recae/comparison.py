"""What changed from one stored version to another."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from recae.artifacts import ModelStore, StoredModel
from recae.data.holdout import pattern
from recae.in_service import CURRENT

HISTORIES = 500
TOP_N = 10
KEPT_OUT = {"files", "version", "format_version"}


def compare_versions(store: ModelStore, first: str, second: str = CURRENT) -> dict[str, Any]:
    """Differences of two versions, and how much of their answers is the same.

    Args:
        store: where both are.
        first: a version, or "current".
        second: another.

    Returns:
        Names of both; ``differences``, a manifest's entry -> both values; ``items_added`` and ``items_removed``;
        ``shared_share`` of the top ten for ``users`` histories of the second's training, over the items that both
        know; None if they know none in common.

    Raises:
        ArtifactError: if one is missing or damaged.
    """
    before, after = store.load(first), store.load(second)
    old, new = (each.manifest.model_dump(mode="json", exclude=KEPT_OUT) for each in (before, after))
    flat = [_flat(old), _flat(new)]
    differences = {
        name: (flat[0].get(name), flat[1].get(name))
        for name in dict.fromkeys([*flat[0], *flat[1]])
        if flat[0].get(name) != flat[1].get(name)
    }
    shared = np.flatnonzero(before.items.find(after.items) >= 0)
    users, share = _agreement(before, after, shared)
    return {
        "first": before.version,
        "second": after.version,
        "differences": differences,
        "items_added": len(after.items) - len(shared),
        "items_removed": len(before.items) - len(shared),
        "users": users,
        "shared_share": share,
    }


def _agreement(
    before: StoredModel, after: StoredModel, shared: np.ndarray[Any, Any]
) -> tuple[int, float | None]:
    """Number of histories, and the mean share of the first's best items that are among the second's."""
    rows = after.model.histories_
    with_items = np.flatnonzero(np.diff(rows.indptr))
    if not len(shared) or not len(with_items):
        return 0, None
    chosen = with_items[:: max(1, len(with_items) // HISTORIES)][:HISTORIES]
    ids = after.items.ids[shared]
    lists = []
    for stored in (before, after):
        columns = stored.items.find(ids)
        taken = csr_array(pattern(rows)[chosen][:, shared])
        moved = csr_array(
            (taken.data, columns[taken.indices], taken.indptr), shape=(len(chosen), len(stored.items))
        )
        moved.sort_indices()
        found, _ = stored.recommender().rank(moved, TOP_N, seen=moved, items=np.sort(columns))
        lists.append(stored.items.ids[found])
    common = [len(set(one) & set(other)) / len(one) for one, other in zip(*lists, strict=True)]
    return len(chosen), float(np.mean(common))


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """``{"config": {"l2": 1}}`` -> ``{"config.l2": 1}``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return flat
