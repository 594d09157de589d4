"""Plots as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

COLOURS = ("#0b6e99", "#c2571a", "#3a7d44", "#7a4ea3")
STYLES: tuple[Any, ...] = ("solid", (0, (4, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
MARKERS = ("o", "D", "s", "^")
WRITTEN = 20
"""Most labels of a heatmap whose names and numbers are written."""
INK, FAINT = "#222222", "#d9d9d9"


def score_against_compute(
    title: str,
    curves: Mapping[str, Sequence[tuple[float, float, float, float]]],
    level: tuple[str, float] | None,
) -> bytes:
    """Lines of a score over seconds of compute, with intervals.

    Args:
        curves: by name, points of seconds, score, and the ends of its interval.
        level: name and score of the best method without a curve, drawn as a dashed line.
    """
    figure = Figure(figsize=(7.2, 4.4), dpi=144, layout="constrained")
    axes = figure.add_subplot()
    for index, (name, points) in enumerate(curves.items()):
        seconds, scores, lows, highs = np.array(sorted(points)).T
        line = {**_line(index), "marker": MARKERS[index // len(COLOURS) % len(MARKERS)], "markersize": 5}
        if len(seconds) == 1:
            axes.errorbar(seconds, scores, [scores - lows, highs - scores], **line, capsize=3, label=name)
            continue
        axes.fill_between(seconds, lows, highs, color=line["color"], alpha=0.12, linewidth=0)
        axes.plot(seconds, scores, **line, label=name)
    if level is not None:
        axes.axhline(level[1], color=INK, linewidth=1, linestyle=(0, (4, 3)), label=f"best of the others: {level[0]}")
    # Not at the ends of the lines, which are close to each other for similar methods.
    figure.legend(loc="outside lower center", ncols=3, handlelength=3.5, frameon=False, fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("training, sampling and measuring, seconds of one worker")
    axes.set_ylabel("LDS")
    return _png(figure, axes, title)


def spread_of_values(title: str, groups: Mapping[str, np.ndarray]) -> bytes:
    """The distribution of values in each group, one row per group: median, middle half, and middle 98%."""
    figure = Figure(figsize=(7.2, 1.2 + 0.34 * len(groups)), dpi=144, layout="constrained")
    axes = figure.add_subplot()
    for row, values in enumerate(groups.values()):
        low, first, middle, third, high = np.quantile(values, [0.01, 0.25, 0.5, 0.75, 0.99])
        axes.plot([low, high], [row, row], color=COLOURS[0], linewidth=1)
        axes.plot([first, third], [row, row], color=COLOURS[0], linewidth=6, alpha=0.45, solid_capstyle="butt")
        axes.plot([middle], [row], color=COLOURS[0], marker="o", markersize=4)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel("value; higher is better (median, middle half, middle 98% of the items)")
    return _png(figure, axes, title)


def detection_curves(title: str, curves: Mapping[str, np.ndarray]) -> bytes:
    """Share of planted items found against the share of items inspected, lowest value first.

    Args:
        curves: by name, `(items,)`, the share found among the first one, two, ... items.
    """
    figure = Figure(figsize=(7.2, 4.4), dpi=144, layout="constrained")
    axes = figure.add_subplot()
    for index, (name, detected) in enumerate(curves.items()):
        inspected = np.arange(1, len(detected) + 1) / len(detected)
        axes.plot(inspected, detected, **_line(index), label=name)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("items inspected, lowest value first")
    axes.set_ylabel("planted items found")
    axes.legend(frameon=False, fontsize=8)
    return _png(figure, axes, title)


def discovery_curves(
    title: str,
    false: Mapping[str, Sequence[tuple[float, float]]],
    power: Mapping[str, Sequence[tuple[float, float]]],
) -> bytes:
    """False discoveries and power over the false discovery rate asked for, a panel each.

    Args:
        false: by name, points of the rate and of the fraction of the flagged items that is not planted.
        power: by name, points of the rate and of the fraction of the planted items that is flagged.
    """
    figure = Figure(figsize=(8.4, 4.8), dpi=144, layout="constrained")
    row = figure.subplots(1, 2)
    rates = sorted({rate for points in false.values() for rate, _ in points})
    row[0].plot(*[(0, rates[-1])] * 2, color=INK, linewidth=1, linestyle=(0, (4, 3)), label="the rate asked for")
    for axes, curves, heading in zip(row, (false, power), ("flagged, not planted", "planted, flagged"), strict=True):
        for index, (name, points) in enumerate(curves.items()):
            axes.plot(*zip(*sorted(points), strict=True), **_line(index), marker="o", markersize=3, label=name)
        axes.set_xticks(rates, [f"{rate:.0%}" for rate in rates])
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("false discovery rate asked for")
        _dress(axes, heading)
    return _saved_panels(figure, row, title)


def auroc_by_validation(title: str, panels: Mapping[float, Mapping[str, Sequence[tuple[int, float]]]]) -> bytes:
    """AUROC over the size of validation, one panel for each fraction of wrong labels in it.

    Args:
        panels: by that fraction and by name, points of size and AUROC; size 0 is without validation.
    """
    figure = Figure(figsize=(1.2 + 3.6 * len(panels), 4.8), dpi=144, layout="constrained")
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    sizes = sorted({size for curves in panels.values() for points in curves.values() for size, _ in points})
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (share, curves) in zip(row, sorted(panels.items()), strict=True):
        for name, points in curves.items():
            axes.plot(
                *zip(*sorted(points), strict=True), **_line(names.index(name)), marker="o", markersize=3, label=name
            )
        axes.set_xscale("symlog", linthresh=min((size for size in sizes if size), default=1), linscale=0.3)
        axes.set_xticks(sizes, [f"{size:,}" if size else "none" for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("validation images")
        _dress(axes, f"{share:.0%} of validation labels wrong" if share else "validation labels right")
    row[0].set_ylabel("AUROC of planted items")
    return _saved_panels(figure, row, title)


def auroc_by_value(title: str, setting: str, curves: Mapping[str, Sequence[tuple[str, float]]]) -> bytes:
    """AUROC by the values of a setting, in their order and at equal distances.

    Args:
        curves: by name, points of value and AUROC.
    """
    values = list(dict.fromkeys(value for points in curves.values() for value, _ in points))
    figure = Figure(figsize=(2.4 + max(3.6, 0.9 * len(values)), 4.8), dpi=144, layout="constrained")
    axes = figure.subplots()
    for index, (name, points) in enumerate(curves.items()):
        places = [values.index(value) for value, _ in points]
        axes.plot(places, [rate for _, rate in points], **_line(index), marker="o", markersize=3, label=name)
    axes.set_xticks(range(len(values)), values)
    axes.set_xlabel(setting)
    axes.set_ylabel("AUROC of planted items")
    _dress(axes, "")
    return _saved_panels(figure, [axes], title)


def accuracy_by_distance(title: str, panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> bytes:
    """Accuracy of classifiers over the distance of their training set from validation, a panel for each classifier.

    Args:
        panels: by classifier and corruption, points of distance and accuracy in the order of the amount planted.
    """
    figure = Figure(figsize=(1.2 + 4.2 * len(panels), 4.8), dpi=144, layout="constrained")
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (classifier, curves) in zip(row, panels.items(), strict=True):
        for index, (name, points) in enumerate(curves.items()):
            axes.plot(*zip(*points, strict=True), **_line(index), marker="o", markersize=3, label=name)
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.set_xlabel("class-wise distance from validation")
        _dress(axes, classifier)
    row[0].set_ylabel("accuracy on unseen validation images")
    return _saved_panels(figure, row, title)


def label_distances(title: str, names: Sequence[str], distances: np.ndarray) -> bytes:
    """A heatmap of the distances of training labels (rows) from validation labels (columns).

    Args:
        names: of the labels.
        distances: `(labels, labels)`; written in the cells if there are few.
    """
    count = len(names)
    figure = Figure(
        figsize=(2.2 + 0.5 * min(count, WRITTEN), 1.8 + 0.45 * min(count, WRITTEN)), dpi=144, layout="constrained"
    )
    axes = figure.add_subplot()
    image = axes.imshow(distances, cmap="viridis", vmin=0)
    figure.colorbar(image, ax=axes, label="distance of labels")
    if count <= WRITTEN:
        axes.set_xticks(range(count), names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_yticks(range(count), names)
        middle = distances.max() / 2
        for row, column in np.ndindex(distances.shape):
            shade = "white" if distances[row, column] < middle else INK
            axes.text(column, row, f"{distances[row, column]:.2g}", ha="center", va="center", color=shade, fontsize=6)
    axes.set_xlabel("label in validation")
    axes.set_ylabel("label in training")
    axes.set_title(title, loc="left", color=INK)
    return _saved(figure)


def predicted_changes(title: str, items: Sequence[np.ndarray]) -> bytes:
    """Predicted (dashed) and actual changes of a distance over the change of an item's mass, a colour for each item.

    Args:
        items: for each, `(3, changes)`: changes of its mass as fractions of it, ascending, predicted and actual ones.
    """
    figure = Figure(figsize=(7.2, 4.4), dpi=144, layout="constrained")
    axes = figure.add_subplot()
    for index, (fractions, predicted, actual) in enumerate(items):
        colour = COLOURS[index % len(COLOURS)]
        names = ("", "") if index else ("actual", "predicted by the value")
        axes.plot(fractions, actual, color=colour, marker="o", markersize=3, label=names[0])
        axes.plot(fractions, predicted, color=colour, linestyle=(0, (4, 2)), label=names[1])
    axes.xaxis.set_major_formatter("{x:+.0%}")
    axes.set_xlabel("change of the item's mass; -100% removes it, +100% duplicates it")
    axes.set_ylabel("change of the distance from validation")
    axes.legend(frameon=False, fontsize=8)
    return _png(figure, axes, title)


def shares_by_images(
    title: str, panels: Mapping[str, Mapping[str, Sequence[tuple[int, float, float]]]], chance: Mapping[str, float]
) -> bytes:
    """Mean and standard deviation of a fraction over draws of generated images, one panel for each generator.

    Args:
        panels: by generator and method, points of number of images, mean and deviation.
        chance: by generator, the fraction of random items, drawn as a dashed line.
    """
    figure = Figure(figsize=(1.2 + 3.6 * len(panels), 4.8), dpi=144, layout="constrained")
    names = list(dict.fromkeys(name for spreads in panels.values() for name in spreads))
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (generator, spreads) in zip(row, panels.items(), strict=True):
        sizes = sorted({images for points in spreads.values() for images, _, _ in points})
        for name, points in spreads.items():
            images, means, deviations = zip(*sorted(points), strict=True)
            beside = 0.08 * (names.index(name) - (len(names) - 1) / 2)  # so that bars do not hide each other
            places = [sizes.index(size) + beside for size in images]
            line = {**_line(names.index(name)), "marker": "o", "markersize": 3, "capsize": 2, "elinewidth": 1}
            axes.errorbar(places, means, deviations, **line, label=name)
        axes.axhline(chance[generator], color=INK, linewidth=1, linestyle=(0, (4, 3)), label="chance")
        axes.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.set_xlabel("generated images in a draw")
        _dress(axes, generator)
    row[0].set_ylabel("images with the class (mean, standard deviation)")
    return _saved_panels(figure, row, title)


def property_by_size(title: str, points: Sequence[tuple[int, float]], utility_name: str, real: float) -> bytes:
    """The property of every coalition's model over the size of the coalition, and the mean of each size.

    Args:
        points: size and property of each coalition.
        real: the property of real images, drawn as a dashed line.
    """
    figure = Figure(figsize=(7.2, 4.4), dpi=144, layout="constrained")
    axes = figure.add_subplot()
    sizes, values = zip(*points, strict=True)
    axes.scatter(sizes, values, s=14, color=COLOURS[0], alpha=0.5, linewidths=0, label="a coalition")
    axes.plot(*zip(*mean_by_size(points), strict=True), color=COLOURS[0], linewidth=1.6, label="mean of a size")
    axes.axhline(real, color=INK, linewidth=1, linestyle=(0, (4, 3)), label="real images")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("contributors in the coalition")
    axes.set_ylabel(utility_name)
    axes.legend(frameon=False, fontsize=8)
    return _png(figure, axes, title)


def mean_by_size(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Sizes, ascending, and the mean property of the coalitions of each."""
    sizes = sorted({size for size, _ in points})
    return [(size, float(np.mean([value for other, value in points if other == size]))) for size in sizes]


def _line(index: int) -> dict[str, Any]:
    """Colour and style of a line by its number; sixteen differ."""
    styles, colour = divmod(index, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": STYLES[styles % len(STYLES)], "linewidth": 1.6}


def _saved_panels(figure: Figure, row: Sequence[Any], title: str) -> bytes:
    """The figure with one title and one legend for all panels."""
    handles = {label: line for axes in row for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    columns = 5 if len(row) > 1 else 3  # as many as fit in the width
    at = {"loc": "outside lower center", "ncols": columns, "handlelength": 4}  # long enough to tell dashes apart
    figure.legend(handles.values(), handles, **at, frameon=False, fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", color=INK)
    return _saved(figure)


def _png(figure: Figure, axes: Any, title: str) -> bytes:
    _dress(axes, title)
    return _saved(figure)


def _dress(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", color=INK)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _saved(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
