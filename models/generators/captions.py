"""The captions that a model told by text learns from."""

from __future__ import annotations

from collections.abc import Sequence

from royalty.models.base.errors import InputError


def captions_of(texts: Sequence[str] | None, prompt: str | None, items: int) -> list[str]:
    """The caption of each image: `prompt`, or its text.

    Raises:
        InputError: no prompt, and images without a text.
    """
    if prompt is not None:
        return [prompt] * items
    uncaptioned = items if texts is None else sum(not text for text in texts)
    if uncaptioned:
        raise InputError(
            f"without `generator: {{prompt: ...}}` every image needs a caption; {uncaptioned} of {items} have none. "
            "Fill in the column `text` of the metadata, or set a prompt for all"
        )
    return list(texts or ())
