"""What a document of Really Simple Licensing (RSL 1.0) says of training: allowed, not allowed, or with conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from royalty.models.base.errors import InputError
from royalty.models.base.reading import check_size
from royalty.models.data.listing import Entry, inside

NAMESPACES = ("", "https://rslstandard.org/rsl")
USAGES = ("all", "ai-all", "ai-train", "ai-input", "ai-index", "search")
"""Tokens of usage; the first three are of training."""
TRAINING = frozenset(USAGES[:3])
MOST_BYTES = 2**20
ALLOWED, CONSTRAINED, REFUSED = "allowed", "constrained", "notAllowed"
STRICTEST = (REFUSED, CONSTRAINED, ALLOWED)


def training_by_rsl(path: Path) -> str:
    """Whether all licenses of a document allow training: `allowed`, `notAllowed` or `constrained`.

    A license does not if it prohibits a usage that includes training, or permits usages of which none does. Payment and
    limits to users or places are conditions.

    Raises:
        InputError: it is no RSL document, has a document type, no license, or an unknown usage.
    """
    check_size(path, MOST_BYTES, "an RSL document", "check that it is the right file")
    parser = expat.ParserCreate(namespace_separator=" ")
    reader = _Reader(path)
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = reader.text, reader.refuse_doctype
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        reader.refuse(f"it is not XML ({error})")
    if not reader.meanings:
        reader.refuse("it has no <license> in a <content>")
    return next(meaning for meaning in STRICTEST if meaning in reader.meanings)


def terms_beside(folder: Path) -> Callable[[Entry], Entry]:
    """What adds to an entry what the RSL document in a folder says of training that its terms name.

    Of the document and the entry's own cell, the stricter counts. Each document is read once.
    """
    meanings: dict[str, str] = {}

    def with_terms(entry: Entry) -> Entry:
        terms = entry.license_terms
        if not terms.casefold().endswith(".xml") or "://" in terms:
            return entry
        if terms not in meanings:
            meanings[terms] = training_by_rsl(inside(folder, terms, entry.where))
        stated = {entry.training_mining, meanings[terms]}
        return replace(entry, training_mining=next(meaning for meaning in STRICTEST if meaning in stated))

    return with_terms


@dataclass
class _Reader:
    path: Path
    meanings: list[str] = field(default_factory=list)
    within: list[str] = field(default_factory=list)
    permitted: set[str] | None = None
    prohibited: set[str] = field(default_factory=set)
    conditions: bool = False
    written: list[str] | None = None

    def start(self, qualified: str, attributes: Mapping[str, str]) -> None:
        namespace, _, element = qualified.rpartition(" ")
        if not self.within and (element != "rsl" or namespace not in NAMESPACES):
            self.refuse(f"its outermost element is <{element}> of the namespace {namespace!r}")
        self.within.append(element)
        if self.within == ["rsl", "content", "license"]:
            self.permitted, self.prohibited, self.conditions = None, set(), False
        elif self.within[:3] == ["rsl", "content", "license"] and len(self.within) == 4:
            kind = attributes.get("type", "")
            if element in ("permits", "prohibits") and kind == "usage":
                self.written = []
            elif element in ("permits", "prohibits") or (element == "payment" and kind != "free"):
                self.conditions = True

    def text(self, text: str) -> None:
        if self.written is not None:
            self.written.append(text)

    def end(self, _: str) -> None:
        if len(self.within) == 4 and self.written is not None:
            usages = set("".join(self.written).replace(",", " ").split())
            if unknown := sorted(usages - set(USAGES)):
                self.refuse(f"it has the usage {unknown[0][:60]!r}")
            if self.within[-1] == "permits":
                self.permitted = (self.permitted or set()) | usages
            else:
                self.prohibited |= usages
            self.written = None
        elif self.within == ["rsl", "content", "license"]:
            refused = self.prohibited & TRAINING or (self.permitted is not None and not self.permitted & TRAINING)
            self.meanings.append(REFUSED if refused else CONSTRAINED if self.conditions else ALLOWED)
        self.within.pop()

    def refuse_doctype(self, *_: object) -> None:
        self.refuse("it has a document type, which can define entities")

    def refuse(self, problem: str) -> NoReturn:
        raise InputError(
            f"{self.path}: terms in a file are an RSL 1.0 document without a document type, whose usages are "
            f"{', '.join(USAGES)}; {problem}. Correct it, or name the terms by an address"
        )
