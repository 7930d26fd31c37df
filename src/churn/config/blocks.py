"""Base class and types of the typed parameter blocks."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0)]
Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class Block(BaseModel):
    """A block of parameters: immutable, finite, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def dumped(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with their typed blocks as plain JSON types."""
    return {
        name: value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        for name, value in parameters.items()
    }


def block_in(annotation: Any) -> type[Block] | None:
    """Return the first block in an annotation such as ``tuple[Annotated[Block, ...], ...]``; ``None`` if there is none."""
    return next(iter(blocks_in(annotation)), None)


def blocks_in(annotation: Any) -> list[type[Block]]:
    """Return all blocks in an annotation, which are several if a field takes one of several kinds."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return [annotation]
    return [block for argument in get_args(annotation) for block in blocks_in(argument)]


def kind_of(block: type[Block]) -> str | None:
    """Return the value of the field ``kind`` that selects a block among several; ``None`` if it has no such field."""
    field = block.model_fields.get("kind")
    return get_args(field.annotation)[0] if field is not None else None
