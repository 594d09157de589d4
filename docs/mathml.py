"""Sets a ```math block as MathML when the site is built, so that no page loads a script to show a formula."""

from __future__ import annotations

from typing import Any

from latex2mathml.converter import convert


def fence(source: str, language: str, css_class: str, options: Any, md: Any, **rest: Any) -> str:
    """A custom fence of pymdownx.superfences: LaTeX to MathML, one formula a line."""
    formulas = (convert(line, display="block") for line in source.splitlines() if line.strip())
    return f'<div class="{css_class}">{"".join(formulas)}</div>'
