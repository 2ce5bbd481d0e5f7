"""Many requests in one, and what became of each."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, Strict, WithJsonSchema

from recae.api.schemas import NAMED, Answer, ErrorDetail, ModelName, RecommendationList, Request


class BatchRequest(Request):
    """Many requests in one; each is answered or refused for itself."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"requests": [{"user_id": "7"}, {"items": ["1", "50"]}], "n": 5}]}
    )
    requests: list[Annotated[Any, WithJsonSchema({NAMED: "TopNRequest"})]] = Field(min_length=1)
    """Each as the body of POST /v1/recommendations, and refused for itself if it is not. At most the server's limit, 1,000 by
    default."""
    n: Annotated[int, Strict(), Field(ge=1)] | None = None
    """For requests that do not say."""
    model: ModelName | None = None
    """For requests that do not say."""


class PartAnswer(Answer):
    """What became of one part of a batch."""

    status: int
    """As the part alone would have been answered with."""
    body: RecommendationList | None = None
    """With 200."""
    error: ErrorDetail | None = None
    """With any other status."""


class BatchAnswer(Answer):
    """The parts of a batch, in the order of its requests."""

    results: list[PartAnswer]
    took_ms: float
