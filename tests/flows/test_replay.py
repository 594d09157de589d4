"""A set of drawings, credited as it grew: each step measures what changed, and arrives where one step arrives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from royalty.infra.pages.contributors import file_of
from tests.conftest import Run
from tests.drawn import Row, openmoji_archive
from tests.flows.test_credit import result_of
from tests.flows.test_revalue import changed, without_measurements

CONFIG = """
name: replay
data: {{source: openmoji, path: openmoji.tgz, size: 8, least: 8, until: {until}}}
classifier: {{steps: 100}}
generator: {{steps: 300, batch_size: 32, block_channels: [8, 16]}}
sampling: {{images: 64, steps: 4}}
pruning: {{recovery_steps: 20}}
coalitions: {{count: 20, finetune_steps: 4, batch_size: 16}}
credit: {{bootstrap: 100}}
matching: {{encoder: pixels, rerank: none, images: 16}}
payout: {{limits: {{stderr: null}}}}
"""

YEARS = {"Ada": 2018, "Bo": 2018, "Cy": 2018, "Dee": 2020, "Eve": 2023}
"""In which year the first drawings of a person are from; the others come later."""


def drawn() -> list[Row]:
    """Of each person 20 drawings, half of them in their first year; no animals before 2020, and no more of Bo ever."""
    rows: list[Row] = []
    for author, first in YEARS.items():
        for number in range(20):
            year = first if number < 10 or author == "Bo" else 2026
            groups = ("faces", "signs") if year == 2018 else ("animals", "faces", "signs")
            code = f"1F{len(rows):03X}"
            rows.append((code, groups[number % len(groups)], f"{author} {number}", author, f"{year}-06-01", ""))
    return rows


def history_of(page: str) -> dict[str, list[str]]:
    """What a contributor's page says moved, by period."""
    rows = re.findall(r"<bdi>replay of (\d{4})</bdi>(?:.*?)<ul aria-label=[^>]*>(.*?)</ul>", page, re.DOTALL)
    return {year: re.findall(r"<li>(.*?)</li>", reasons) for year, reasons in rows}


@pytest.mark.slow
@pytest.mark.timeout(1800)  # eleven commands
def test_a_replay_credits_each_state_and_its_last_is_that_of_one_step(royalty: Run, tmp_path: Path) -> None:
    openmoji_archive(tmp_path / "openmoji.tgz", drawn())
    config, home, alone = tmp_path / "replay.yaml", tmp_path / "home", tmp_path / "alone"

    def until(year: int) -> None:
        config.write_text(CONFIG.format(until=f"{year}-12-31"))

    def pay(year: int) -> None:
        terms = ("--credit", "replay", "--pool", "100", "--period", str(year))
        assert royalty("payout", *terms, "--json").returncode == 0

    until(2018)
    first = result_of(royalty("run", "--config", "replay.yaml", "--json"))
    assert {row["contributor"] for row in first["rows"]} == {"Ada", "Bo", "Cy"}
    pay(2018)
    without_measurements(home, alone)
    results = [first]
    for year, added in ((2020, ["Dee"]), (2023, ["Eve"]), (2026, [])):
        until(year)
        results.append(changed(royalty("revalue", "--config", "replay.yaml", "--json", "--summary", f"{year}.md")))
        change = results[-1]["change"]
        assert (change["added"], change["removed"], change["configuration"]) == (added, [], [])
        assert "Bo" not in change["changed"]
        assert results[-1]["reused"] > 0, "the models of nobody and of those without new drawings are kept"
        pay(year)
    assert results[-1]["change"]["changed"] == ["Ada", "Cy", "Dee", "Eve"]
    assert "Contributors with changed images" in (tmp_path / "2026.md").read_text()

    # The last state is that of one step from the same models, with nothing else kept.
    whole = changed(royalty("revalue", "--config", "replay.yaml", "--json", ROYALTY_HOME=str(alone)))
    assert whole["reused"] == 0
    assert (whole["table"], whole["rows"]) == (results[-1]["table"], results[-1]["rows"])

    # A run goes on from there, measures nothing, and writes the pages with all that was paid.
    again = result_of(royalty("run", "--config", "replay.yaml", "--json"))
    assert (again["measured"], again["table"]) == (0, results[-1]["table"])
    page = (Path(again["folder"]) / file_of("Ada")).read_text(encoding="utf-8")
    paid = [row["amount"] for result in results for row in result["rows"] if row["contributor"] == "Ada"]
    periods = [str(year) for year, amount in zip((2018, 2020, 2023, 2026), paid, strict=True) if float(amount)]
    assert periods, "credit of somebody with most drawings is positive"
    history = history_of(page)
    assert list(history) == ["2018", "2020", "2023", "2026"]
    assert [year for year, reasons in history.items() if not reasons[0].startswith("No entry")] == periods
    own = [next(each for each in reasons if "own images" in each.lower()) for reasons in history.values()]
    same = "Own images: the same 10."
    first = "The first statement of this pool, by 10 own images and 30 of others."
    assert own == [first, same, same, "Own images: 10 added, 0 removed, 0 changed."]
    others = [
        next((each for each in reasons if each.startswith("Images of others")), "") for reasons in history.values()
    ]
    assert others == [
        "",
        "Images of others: 10 added (contributors: 1), 0 removed (contributors: 0).",
        "Images of others: 10 added (contributors: 1), 0 removed (contributors: 0).",
        "Images of others: 30 added (contributors: 3), 0 removed (contributors: 0).",
    ]
    assert ["Coalitions start from the same models." in reasons for reasons in history.values()] == [False, *[True] * 3]
    assert all(reasons[-1].startswith("Credit: ") for reasons in history.values())
    assert sum("the intervals: it " in reasons[-1] for reasons in history.values()) == 3
    eve = history_of((Path(again["folder"]) / file_of("Eve")).read_text(encoding="utf-8"))
    absent = ["No entry: no images of this contributor yet."]
    assert [eve["2018"], eve["2020"]] == [absent, absent]
    assert "Own images: 10 added, 0 removed, 0 changed." in eve["2023"]
    assert eve["2023"][-1].endswith("with none before.")
    assert "Images trained on" in page
    html = (Path(again["folder"]) / "report.html").read_text(encoding="utf-8")
    assert "Licenses of the images: CC BY-SA 4.0 (100)." in html
    assert "Years in which the images were made: 2018 (40), 2020 (10), 2023 (10), 2026 (40)." in html
    assert re.search(r"<bdi>Ada \d+ · CC BY-SA 4.0 · 20\d\d-06-01</bdi>", page), "a drawing has its caption below it"
