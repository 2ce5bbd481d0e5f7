"""What results say of the data: how much there was, what could not be used, and what to mind when rows are compared."""

from collections.abc import Mapping

import numpy as np

from recae.data.holdout import Split, pattern
from recae.evaluation.datasets import sha256_of
from recae.evaluation.outsiders import Outsider, ScoreTable
from recae.evaluation.protocol import Protocol
from recae.evaluation.records import DataFacts
from recae.evaluation.scoring import users_with_targets


def facts_of(protocol: Protocol, split: Split, outsiders: Mapping[str, Outsider]) -> DataFacts:
    """All of it, for the split of the first seed.

    Args:
        protocol: says which rows there are.
        split: what they are judged on.
        outsiders: title -> somebody else's model; files of scores have counts of their own.
    """
    candidates = split.test.candidates
    validation, judged = split.validation, len(users_with_targets(split.test))
    return DataFacts(
        split=split.name,
        n_users=split.train.n_users,
        n_items=split.train.n_items,
        n_train=len(split.train),
        n_validation_users=0 if validation is None else len(users_with_targets(validation)),
        n_validation_targets=0 if validation is None else int(validation.targets.nnz),
        n_test_users=judged,
        n_test_targets=int(split.test.targets.nnz),
        n_left_out=split.test.targets.shape[0] - judged,
        n_candidates=None if candidates is None else int(np.diff(candidates.indptr).max()),
        notes=dict(split.notes) | _only_training(split) | _of_tables(outsiders),
        remarks=_masked_differently(protocol, split),
        refit_masks=not protocol.metrics.of_ratings and _suggestible_validation_items(split) > 0,
        sha256=sha256_of(split),
    )


def _only_training(split: Split) -> dict[str, int]:
    """Users of train whom the test does not ask; a split of strangers asks none of them."""
    asked = split.train.users.find(split.test.users.ids)
    n_others = split.train.n_users - len(split.test)
    return (
        {"users of train with nothing held out for the test": n_others}
        if n_others and (asked >= 0).all()
        else {}
    )


def _of_tables(outsiders: Mapping[str, Outsider]) -> dict[str, int]:
    return {
        f"{reason} ({title})": count
        for title, table in outsiders.items()
        if isinstance(table, ScoreTable)
        for reason, count in table.notes.items()
    }


def _masked_differently(protocol: Protocol, split: Split) -> tuple[str, ...]:
    """Whether rows leave validation items out of their lists that models without refit may suggest."""
    refitted = [section.title for section in protocol.models if section.refit]
    if protocol.metrics.of_ratings or not refitted or not _suggestible_validation_items(split):
        return ()
    if len(refitted) == len(protocol.models):
        remark = (
            "Validation items are left out of every list, since the models learned from them: such numbers are higher than "
            "those of lists that may hold them, and compare with each other only."
        )
    else:
        remark = (
            f"Validation items are left out of the lists of {', '.join(refitted)} alone, which learned from them: "
            "compare with care the rows with refit and those without."
        )
    return (remark,)


def _suggestible_validation_items(split: Split) -> int:
    """How many validation targets of test users a model without refit may suggest to them in the test."""
    if split.validation is None:
        return 0
    places = split.validation.users.find(split.test.users.ids)
    rows = np.flatnonzero(places >= 0)
    held_out = pattern(split.validation.targets[places[rows]])
    if split.test.candidates is not None:
        held_out = held_out.multiply(pattern(split.test.candidates[rows])).tocsr()
    return int(held_out.nnz - held_out.multiply(pattern(split.test.seen[rows])).nnz)
