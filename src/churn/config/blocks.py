"""What the typed parameter blocks have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0)]
Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class Block(BaseModel):
    """A block of parameters: immutable, finite, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
