"""Types of settings whose values are names in a registry, checked without importing what a name stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from royalty.models.base.errors import by_name
from royalty.models.distances.registry import DISTANCES
from royalty.models.encoders.registry import ENCODERS
from royalty.models.quality.registry import QUALITIES

TRAINED_ENCODER = "preact-resnet18"
"""An encoder that is trained on the validation images, and so in no registry."""


class NameIn:
    """Marks a text as a name in a registry, read whenever a value is checked, or as one of a few further names.

    Args:
        kind: what the names are names of, for messages.
        further: names of what needs no entry, which are listed first.
    """

    def __init__(self, kind: str, registry: Mapping[str, Any], *further: str) -> None:
        self.kind, self.registry, self.further = kind, registry, further

    @property
    def names(self) -> list[str]:
        return [*self.further, *self.registry]

    def check(self, name: str) -> str:
        """Return the name.

        Raises:
            InputError: it is none of these names; the message lists them.
        """
        return by_name(name, {known: known for known in self.names}, self.kind)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "enum": self.names}


EncoderChoice = Annotated[str, NameIn("encoder", ENCODERS)]
EncodingChoice = Annotated[str, NameIn("encoder", ENCODERS, TRAINED_ENCODER)]
RerankChoice = Annotated[str, NameIn("distance", DISTANCES, "none")]
JudgeChoice = Annotated[str, NameIn("quality", QUALITIES, "none", "realism")]
