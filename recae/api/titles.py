"""Finding items by their titles, for people who type."""

from recae.answers import RankedItem
from recae.recommender import Recommender


class TitleIndex:
    """The titles of everything a recommender may show, most popular first.

    Args:
        recommender: whose items; what it hides is not found.
    """

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        everything = recommender.popular(len(recommender.items), available_only=False).items
        self._lines = [(item, _words(item.title or "")) for item in everything]

    def search(self, query: str, n: int) -> list[RankedItem]:
        """At most ``n`` items that have every word of the query, or its beginning, in their titles.

        An item of exactly this id comes first, then titles that begin with the query, then the others; among equals the
        most popular first.
        """
        wanted = _words(query)
        if not wanted:
            return []
        by_place: tuple[list[RankedItem], ...] = ([], [], [])
        for item, words in self._lines:
            if item.item_id == query.strip():
                by_place[0].append(item)
            elif all(any(word.startswith(start) for word in words) for start in wanted):
                by_place[
                    1 if words[: len(wanted) - 1] == wanted[:-1] and _begins(words, wanted) else 2
                ].append(item)
        return [item for found in by_place for item in found][:n]


def _begins(words: list[str], wanted: list[str]) -> bool:
    """Whether the last wanted word, which may be unfinished, stands at its place."""
    return len(words) >= len(wanted) and words[len(wanted) - 1].startswith(wanted[-1])


def _words(text: str) -> list[str]:
    """Words without case and punctuation: ``Don't Look Up (2021)`` is dont, look, up, 2021."""
    kept = (character if character.isalnum() else " " for character in text.casefold().replace("'", ""))
    return "".join(kept).split()
