"""What an id is, whichever way it comes in: short text that UTF-8 and every database can hold, or an integer."""

from enum import Enum, auto
from typing import Any, Final

LONGEST_ID: Final = 256
"""Characters of an id or a type. PostgreSQL cannot index 3,000 bytes, and an id that long is no id."""
ZERO_BYTE: Final = "\0"
"""PostgreSQL cannot even look for it."""


class IdFault(Enum):
    """The rule that a value breaks; each way in has its own words for it."""

    KIND = auto()
    """It is neither text nor an integer."""
    LENGTH = auto()
    """It is empty, or longer than ``LONGEST_ID``."""
    UNICODE = auto()
    """It holds half a surrogate pair, which JSON can spell and UTF-8 cannot."""
    ZERO_BYTE = auto()


def id_fault(value: Any) -> IdFault | None:
    """The first rule that ``value`` breaks; None if ``str(value)`` is an id: text as it is, an integer as its digits."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return IdFault.KIND
    text = str(value)
    if not 1 <= len(text) <= LONGEST_ID:
        return IdFault.LENGTH
    try:
        text.encode()
    except UnicodeEncodeError:
        return IdFault.UNICODE
    return IdFault.ZERO_BYTE if ZERO_BYTE in text else None
