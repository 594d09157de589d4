"""Types of settings whose values are names in a registry, checked without importing what a name stands for."""

from __future__ import annotations

from collections.abc import Iterable
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
    """Marks a text as a name in a registry, which is read whenever a value is checked.

    Args:
        kind: what the names are names of, for messages.
        sources: registries, and names of what needs no entry, in the order in which they are listed.
    """

    def __init__(self, kind: str, *sources: Iterable[str]) -> None:
        self.kind, self.sources = kind, sources

    @property
    def names(self) -> list[str]:
        return [name for source in self.sources for name in source]

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
EncodingChoice = Annotated[str, NameIn("encoder", ENCODERS, [TRAINED_ENCODER])]
RerankChoice = Annotated[str, NameIn("distance", ["none"], DISTANCES)]
JudgeChoice = Annotated[str, NameIn("quality", ["none", "realism", "density"], QUALITIES)]
