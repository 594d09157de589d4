"""A reader of SVG drawings, which renders them in a process of its own: a drawing that takes too long is refused."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.listing import Cell
from royalty.models.data.svg import render_svg

SECONDS = 10.0
"""Longest time for one drawing. OpenMoji's take 2 milliseconds."""


@dataclass(frozen=True)
class Drawings:
    """A reader of SVG drawings in memory, checked by `royalty.models.data.svg.check_svg`.

    Attributes:
        where: the place of each drawing, for error messages.
        payloads: the SVG files.
        side: of the rendered squares, in pixels.
        seconds: longest time for rendering one drawing.
    """

    where: tuple[str, ...]
    payloads: tuple[bytes, ...]
    side: int
    seconds: float = SECONDS

    def cells(self, start: int, stop: int) -> Iterator[Cell]:
        """PNG files of the drawings at these positions.

        Raises:
            InputError: a drawing cannot be rendered, or not within the time.
        """
        yield from rendered(self.where[start:stop], self.payloads[start:stop], self.side, self.seconds)

    def digest(self) -> str:
        digest = hashlib.sha256(f"{self.side}".encode())
        for payload in self.payloads:
            digest.update(hashlib.sha256(payload).digest())
        return digest.hexdigest()

    def take(self, places: np.ndarray) -> Drawings:
        """A reader of the drawings at these positions, ascending."""
        where, payloads = zip(*((self.where[place], self.payloads[place]) for place in places), strict=True)
        return replace(self, where=where, payloads=payloads)


def rendered(where: Sequence[str], payloads: Sequence[bytes], side: int, seconds: float) -> Iterator[bytes]:
    """Render drawings one after the other in a process that ends with the iterator; see `Drawings`."""
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_render, args=(sender, tuple(where), tuple(payloads), side), daemon=True)
    process.start()
    sender.close()  # the process holds the other end, so that its death is the end of the stream
    with closing(receiver):
        try:
            receiver.recv()  # the process has started
            for place in where:
                yield _next(receiver, place, seconds)
        finally:
            process.kill()
            process.join()


def _next(receiver: Connection, where: str, seconds: float) -> bytes:
    if not receiver.poll(seconds):
        raise InputError(
            f"{where}: a drawing is rendered in {seconds:g} s at most, and this one takes longer; simplify it, or "
            "leave it out"
        )
    try:
        received: bytes | InputError = receiver.recv()
    except EOFError:
        raise InputError(
            f"{where}: the renderer stopped at this drawing, as it does on one too deep or too large; simplify it, or "
            "leave it out"
        ) from None
    if isinstance(received, InputError):
        raise received
    return received


def _render(sender: Connection, where: Sequence[str], payloads: Sequence[bytes], side: int) -> None:
    sender.send(None)
    for place, payload in zip(where, payloads, strict=True):
        try:
            sender.send(render_svg(place, payload, side))
        except InputError as error:
            sender.send(error)
        except BrokenPipeError:  # nobody waits for the others
            return
