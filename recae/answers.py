"""What the recommender answers with: places in a ranking, and why there are fewer than were asked for."""

from dataclasses import dataclass

from recae.explanations import Explanation
from recae.histories import Strategy


@dataclass(frozen=True)
class RankedItem:
    """One place in a ranking; ``rank`` counts from 1 over the whole ranking, before any offset.

    ``explanation`` names the items of the history that speak for this one, the strongest first, if it was asked for.
    """

    item_id: str
    score: float
    rank: int
    title: str | None
    explanation: tuple[Explanation, ...] = ()


@dataclass(frozen=True)
class Ranking:
    """Items, best first; ``short`` says why there are fewer than were asked for."""

    items: tuple[RankedItem, ...]
    short: str | None = None


@dataclass(frozen=True)
class Recommendations(Ranking):
    """The answer to one request.

    ``strategy`` is "model" for the history a training user is known by, "fold_in" for a history sent with the
    request, "fallback" (most popular first) where no known history exists. ``unknown_items`` are ids of the
    request that the model never saw; they were left out.
    """

    strategy: Strategy = "fallback"
    unknown_items: tuple[str, ...] = ()
    next_offset: int | None = None


def shortage(found: int, asked: int, offset: int, candidates: int) -> str | None:
    """Why a page has fewer items than were asked for; None if it has not.

    Args:
        found: items on the page.
        asked: items wanted.
        offset: places skipped before the page.
        candidates: items there are, on all pages.
    """
    if found == asked:
        return None
    left = f"{_items(candidates)} left after what was seen, excluded or filtered out"
    if offset == 0:
        return left
    if offset >= candidates:
        return f"{left}, and the offset of {offset:,} skips them all"
    return f"{left}, and {offset:,} of them are skipped by the offset"


def left_out(candidates: int, unknown: int, hidden: int) -> str | None:
    """Why not every candidate is ranked; None if all are.

    Args:
        candidates: different ones that were named.
        unknown: those the model does not know.
        hidden: those it knows and may not show: the catalogue hides them, or they were removed from it.
    """
    reasons = [f"{_of_them(unknown)} unknown to the model"] if unknown else []
    reasons += [f"{_of_them(hidden)} hidden or removed"] if hidden else []
    return f"of {candidates:,} candidate(s), {' and '.join(reasons)}" if reasons else None


def _items(n: int) -> str:
    return f"{n or 'no'} item is" if n <= 1 else f"{n:,} items are"


def _of_them(n: int) -> str:
    return "1 is" if n == 1 else f"{n:,} are"
