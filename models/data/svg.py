"""Check and render SVG drawings. The renderer, resvg, runs no scripts and opens no files or addresses."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import NoReturn
from xml.parsers import expat

from PIL import Image

from royalty.models.base.errors import InputError

NAMESPACE = "http://www.w3.org/2000/svg"
SHAPES = frozenset({"circle", "ellipse", "line", "path", "polygon", "polyline", "rect"})
ELEMENTS = SHAPES | {"svg", "g", "defs", "clipPath", "linearGradient", "radialGradient", "stop", "title", "desc"}
"""Elements of a drawing. None repeats another, as `use`, `pattern` and `filter` do, by which a short file takes any
amount of work."""
MOST_BYTES = 2**18
MOST_ELEMENTS = 5_000
MOST_DEPTH = 100
"""The largest drawing of OpenMoji 17 has 35 kilobytes and 100 elements."""

REFERENCE = re.compile(r"url\s*\(\s*['\"]?\s*(.?)", re.IGNORECASE)
"""The first character of what an attribute refers to; `#` is another element of the same drawing."""


def check_svg(where: str, payload: bytes) -> None:
    """Check that an SVG file is a plain drawing: shapes, without scripts, entities, styles and outside references.

    Raises:
        InputError: it is not, is too large, or is not XML; the message has the line and the remedy.
    """
    if len(payload) > MOST_BYTES:
        raise InputError(
            f"{where}: a drawing has at most {MOST_BYTES:,} bytes, and this one has {len(payload):,}; simplify it, or "
            "leave it out"
        )
    parser = expat.ParserCreate(namespace_separator=" ")
    check = _Check(where, parser)
    parser.StartElementHandler, parser.EndElementHandler = check.start, check.end
    parser.StartDoctypeDeclHandler = check.refuse_doctype
    parser.ProcessingInstructionHandler = check.refuse_instruction
    try:
        parser.Parse(payload, True)
    except expat.ExpatError as error:
        raise InputError(f"{where}: not XML ({error}); save the drawing again as plain SVG, or leave it out") from None


class _Check:
    """Handlers of a parser that refuse all that is no part of a plain drawing."""

    def __init__(self, where: str, parser: expat.XMLParserType) -> None:
        self.where, self.parser = where, parser
        self.elements = self.depth = 0

    def start(self, qualified: str, attributes: Mapping[str, str]) -> None:
        namespace, _, element = qualified.rpartition(" ")
        if not self.elements and (namespace, element) != (NAMESPACE, "svg"):
            self.refuse(f"its outermost element is <{element}> of the namespace {namespace!r}")
        if namespace != NAMESPACE or element not in ELEMENTS:
            self.refuse(f"it has the element <{element}>")
        self.elements, self.depth = self.elements + 1, self.depth + 1
        if self.elements > MOST_ELEMENTS:
            self.refuse(f"it has more than {MOST_ELEMENTS:,} elements")
        if self.depth > MOST_DEPTH:
            self.refuse(f"its elements are nested more than {MOST_DEPTH} deep")
        for name, value in attributes.items():
            self.attribute(name.rpartition(" ")[2], value)

    def attribute(self, name: str, value: str) -> None:
        if name.lower().startswith("on"):
            self.refuse(f"it has the event handler `{name}`")
        outside = name == "href" and not value.lstrip().startswith("#")
        if outside or any(first != "#" for first in REFERENCE.findall(value)):
            self.refuse(f"its attribute `{name}` refers to {value[:60]!r} outside of it")

    def end(self, _: str) -> None:
        self.depth -= 1

    def refuse_doctype(self, *_: object) -> None:
        self.refuse("it has a document type, which can define entities")

    def refuse_instruction(self, target: str, _: str) -> None:
        self.refuse(f"it has the processing instruction <?{target}>")

    def refuse(self, problem: str) -> NoReturn:
        raise InputError(
            f"{self.where}, line {self.parser.CurrentLineNumber}: a drawing consists of shapes without scripts, "
            f"entities, styles and references to the outside, and {problem}; save it as plain SVG, or leave it out"
        )


def check_renderer() -> None:
    """Check that the renderer is installed.

    Raises:
        InputError: it is not.
    """
    if find_spec("resvg_py") is None:
        raise InputError(
            "drawings are rendered by the package resvg-py, which is not installed; `pip install 'royalty[openmoji]'`"
        )


def render_svg(where: str, payload: bytes, side: int) -> bytes:
    """Render a checked drawing as a PNG file of `side` by `side` pixels, transparent where nothing is drawn.

    Raises:
        InputError: it cannot be rendered, or is not square.
    """
    from resvg_py import svg_to_bytes  # of an extra

    try:
        # Width and height are given, because a narrow drawing would be as long as its `viewBox` says.
        png: bytes = svg_to_bytes(svg_string=payload.decode(), width=side, height=side, skip_system_fonts=True)
    except ValueError as error:
        raise InputError(f"{where}: cannot be rendered ({error}); save it again, or leave it out") from None
    width, height = Image.open(io.BytesIO(png)).size
    if (width, height) != (side, side):
        raise InputError(
            f"{where}: a drawing is square, and this one is {width} by {height} of {side} pixels; give it a square "
            "`viewBox`, or leave it out"
        )
    return png
