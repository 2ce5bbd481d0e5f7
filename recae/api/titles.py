"""Finding items by their titles, for people who type."""

import re
import weakref

from recae.answers import RankedItem
from recae.recommender import Recommender

WORD = re.compile(r"[^\W_]+")


class TitleIndex:
    """The titles of everything a recommender may show, most popular first.

    Args:
        recommender: whose items; what it hides is not found.
    """

    def __init__(self, recommender: Recommender) -> None:
        # a model that is replaced must not stay in memory for this
        self._made_from = weakref.ref(recommender)
        everything = recommender.popular(len(recommender.items), available_only=False).items
        self._lines = [(item, _line(item.title or "")) for item in everything]

    def is_of(self, recommender: Recommender) -> bool:
        """Whether it was made from this one, over the catalogue as that has it."""
        return self._made_from() is recommender

    def search(self, query: str, n: int) -> list[RankedItem]:
        """At most ``n`` items that have every word of the query, or its beginning, in their titles.

        An item of exactly this id comes first, then titles that begin with the query, then the others; among equals the
        most popular first.
        """
        beginning = _line(query)
        if not beginning:
            return []
        item_id, starts = query.strip(), [f" {word}" for word in beginning.split()]
        by_place: tuple[list[RankedItem], ...] = ([], [], [])
        for item, line in self._lines:
            if item.item_id == item_id:
                by_place[0].append(item)
            elif line.startswith(beginning):
                by_place[1].append(item)
            elif all(start in line for start in starts):
                by_place[2].append(item)
        return [item for found in by_place for item in found][:n]


def _line(text: str) -> str:
    """Words without case and punctuation, a blank before each: "Don't Look Up (2021)" is " dont look up 2021"."""
    return "".join(f" {word}" for word in WORD.findall(text.casefold().replace("'", "")))
