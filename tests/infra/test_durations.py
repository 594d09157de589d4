"""Times in two units, rounded, and never with 60 of a smaller unit."""

from __future__ import annotations

import pytest

from royalty.infra.pages.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (14.91, "14.9 s"),
        (59.96, "1 min"),
        (60, "1 min"),
        (125.4, "2 min 5 s"),
        (3599.7, "1 h"),
        (3600 + 29, "1 h"),
        (3600 + 31, "1 h 1 min"),
        (86_399, "1 d"),
        (3 * 86_400 + 5 * 3600 + 1799, "3 d 5 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
