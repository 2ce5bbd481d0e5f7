"""What is worth trying of a model's settings: ranges and choices, named beside each model, in no tuner's terms."""

from typing import Annotated, Any, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator


class Range(BaseModel):
    """Numbers from ``low`` to ``high``, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float
    high: float
    log: bool = False
    """Whether a tenfold step is as likely as the next one: for what spans orders of magnitude."""
    whole: bool = False
    """Whether only whole numbers are meant."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high or (self.log and self.low <= 0):
            above = " above 0" if self.log else ""
            raise ValueError(
                f"low is {self.low:g} and high {self.high:g}; expected low{above} and below high"
            )
        if self.whole and (self.low % 1 or self.high % 1):
            raise ValueError(f"whole numbers cannot go from {self.low:g} to {self.high:g}")
        return self

    def ends(self) -> tuple[float | int, float | int]:
        """Both ends, as settings take them."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


Choice: TypeAlias = Annotated[list[JsonValue], Field(min_length=1)]
"""Some values, one of which is taken."""


def span(low: float, high: float, *, log: bool = False) -> Range:
    """Real numbers."""
    return Range(low=low, high=high, log=log)


def whole(low: int, high: int, *, log: bool = False) -> Range:
    """Whole numbers."""
    return Range(low=low, high=high, log=log, whole=True)


SearchSpace: TypeAlias = dict[str, Any]
"""Setting -> `Range`, or a list of values."""
