"""Plots as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

COLOURS = ("#0b6e99", "#c2571a", "#3a7d44", "#7a4ea3")
INK, FAINT = "#222222", "#d9d9d9"


def score_against_compute(
    title: str,
    curves: Mapping[str, Sequence[tuple[float, float, float, float]]],
    level: tuple[str, float] | None,
) -> bytes:
    """Lines of a score over seconds of compute, with intervals.

    Args:
        curves: by name, points of seconds, score, and the ends of its interval.
        level: name and score of the best that takes no coalitions, a dashed line.
    """
    figure = Figure(figsize=(7.2, 4.4), dpi=144, layout="constrained")
    axes = figure.add_subplot()
    for colour, (name, points) in zip(COLOURS, curves.items(), strict=False):
        seconds, scores, lows, highs = zip(*sorted(points), strict=True)
        axes.fill_between(seconds, lows, highs, color=colour, alpha=0.12, linewidth=0)
        axes.plot(seconds, scores, color=colour, marker="o", markersize=4, linewidth=1.6)
        axes.annotate(
            name, (seconds[-1], scores[-1]), xytext=(6, 0), textcoords="offset points", color=colour, va="center"
        )
    if level is not None:
        axes.axhline(level[1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"best of the others: {level[0]}",
            (0, level[1]),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            color=INK,
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("{x:,.0f}")
    axes.set_xlabel("training, sampling and measuring, seconds of one worker")
    axes.set_ylabel("LDS")
    axes.set_title(title, loc="left", color=INK)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.16)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
