"""Pages of contributors in other languages than English: all of their texts, and how numbers are written."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from royalty.infra.audit.pack import AuditPage, ShownStatement
from royalty.infra.ledger.acts import Act
from royalty.infra.ledger.approvals import Approval
from royalty.infra.ledger.cases import Case
from royalty.infra.pages.approval import SHOWN, ApprovalPage, render_approval
from royalty.infra.pages.audit import render_audit
from royalty.infra.pages.case_rows import CaseRow, OptOutRow
from royalty.infra.pages.cases import CasePage, render_case
from royalty.infra.pages.combined import combined
from royalty.infra.pages.contributors import ContributorPage, HistoryRow, ImageValues, file_of, render_pages
from royalty.infra.pages.interactions import PairRow
from royalty.infra.pages.language import Language, language_of, shipped_language
from royalty.infra.pages.report import ContributorRow
from royalty.models.payout.approval import ApprovalRules, reasons_to_wait

ROW = ContributorRow("ZOE", 1200, 0.25, 0.1, 0.125, 0.5, 0.125, "12", b"", 1, 3, 34)
HISTORY = tuple(
    HistoryRow("JUNE", "2030-01-02T03:04+00:00", kind, credit, "12", credit is None, ("W",))
    for kind, credit in (
        ("division", 0.5),
        ("replacement", None),
        ("correction", 0.5),
        ("release", 0.5),
        ("decision", 0.5),
    )
)
VALUES = tuple(
    ImageValues(method, 1500.5, 4000.0, share, ())
    for method, share in (("gmvaluator", 0.25), ("lava", None), ("sava", None), ("knn-shapley", None))
)
PAIRS = tuple(PairRow("ZOE", "BOB", value, value - 0.1, value + 0.1, True) for value in (-0.2, 0.2))
CASES = tuple(
    CaseRow("AB", state, "R", "C", "", "2030-01-02T03:04+00:00")
    for state in ("open", "overdue", "released", "reversed")
)
OPTOUTS = tuple(OptOutRow("AB", works, "2030-01-02T03:04+00:00") for works in ((), ("W",), ("W",) * 15))
PAGE = ContributorPage(
    ROW,
    1234,
    (),
    None,
    VALUES,
    HISTORY,
    0.5,
    "2030-01-02T03:04+00:00",
    (("K", "A", "B"),),
    pairs=PAIRS,
    cases=CASES,
    optouts=OPTOUTS,
    moved=("W",),
)


def pages_in(language: Language) -> dict[str, str]:
    """Pages with every sentence that a page may have, by file."""
    kinds = [
        PAGE,
        replace(PAGE, remarks=("Q",), received="12", changes=None, values=(), history=(), cases=(), pairs=()),
        replace(PAGE, remarks=("Q",), proposed=True, received="12", row=replace(ROW, held_out=0)),
        replace(PAGE, proposed=True, row=replace(ROW, rank_worst=1)),
        replace(PAGE, refusal="Q", row=replace(ROW, credit=-0.25, ci_low=-0.5, ci_high=-0.125)),
        replace(PAGE, before=None, row=replace(ROW, share=0.0, ci_low=-0.5, held_out=None)),
        replace(PAGE, proposed=True, row=replace(ROW, share=0.0)),
    ]
    named = [replace(page, row=replace(page.row, name="ZOE" * (place + 1))) for place, page in enumerate(kinds)]
    made = {}
    for value in ("banzhaf", "images", "groups", "shapley"):
        made |= {f"{value}/{file}": page for file, page in _rendered(named, language, value).items()}
    return made | _rendered(named, language, "shapley")


def _rendered(pages: list[ContributorPage], language: Language, value: str) -> dict[str, str]:
    return dict(render_pages(
        pages, title="T", created_at="2030-01-02T03:04+00:00", utility_name="U", utility_meaning="M",
        utilities=(1.0, 3.0), level="95", pool="10", terms=("P",), language=language, value=value,
    ))  # fmt: skip


def words_of(html: str) -> str:
    """The words that people see or hear, and those of the script's tools."""
    texts = re.findall(r"(?:aria-label|alt|title|data-label|data-group)=\"([^\"]*)\"", html)
    body = re.sub(r"<style>.*?</style>|<script>.*?</script>|<code>.*?</code>|<[^>]*>", " ", html, flags=re.DOTALL)
    return " ".join([body, *texts])


def test_pages_have_no_sentence_beside_the_language() -> None:
    """With every sentence replaced by its name, no English is left, and every sentence of these pages is used."""
    english = shipped_language("en").sentences
    names = {
        name: f"{name.upper()} " + " ".join(sorted(set(re.findall(r"\{\w+\}", text)))) for name, text in english.items()
    }
    pages = pages_in(language_of({"locale": "en", **names, "date_pattern": "y"}, "own.yaml"))
    written = words_of("".join(pages.values()))
    left = set(re.findall(r"\b[a-z]{3,}\b", re.sub(r"Royalty|January|UTC", "", written)))
    assert left <= {"amp", "nbsp", "quot", "lt", "gt"}, left
    for name in (
        "LEAD_REFUSED",
        "LEAD_ADJUSTED_PROPOSED",
        "PAIR_MORE",
        "STATE_OVERDUE",
        "OPTOUTS_CAPTION",
        "OPTOUT_ALL",
        "OPTOUT_MORE",
        "INDEX_NEW",
        "KIND_DECISION",
    ):
        assert name in written, name
    tools = json.loads(pages["index.html"].partition("data-texts='")[2].partition("'")[0])
    assert tools["find"].strip() == "TOOLS_FIND"


def test_numbers_and_dates_are_written_as_in_the_language() -> None:
    pages = pages_in(shipped_language("de"))
    page = " ".join(words_of(pages[file_of("ZOE")]).split())
    for part in (
        "12 werden gezahlt: 12,5 % des Topfes von 10.",
        "von 1.234; die Intervalle lassen offen, welcher.",
        "Die Beiträge aller 1.234 Urheber ergeben zusammen +2,000 Punkte: 3,000 für das Modell",
        "Verglichen mit dem Lauf vom 2. Januar 2030, 03:04 UTC",
        "ergeben zusammen 1.500,500",
        "0,200 [0,100; 0,300] Punkte weniger",
    ):
        assert part in page, part
    assert '<html lang="de" dir="ltr"' in pages["index.html"]
    assert '<span lang="en">P</span>' in pages[file_of("ZOE")], "what is quoted says its language"


def test_one_file_of_all_pages_keeps_the_language_of_each() -> None:
    report = '<html lang="en">\n<style></style><body>report</body></html>'
    together = "".join(combined({"report.html": report, **pages_in(shipped_language("de"))}.items()))
    assert 'id="page-report" lang="en">' in together
    assert re.search(r'id="page-index" lang="de" dir="ltr" data-texts=', together)


@pytest.mark.parametrize(
    ("locale", "number", "percent"),
    [("fr", "1\u202f234,5", "12,5\xa0%"), ("en", "1,234.5", "12.5%"), ("tr", "1.234,5", "%12,5")],
)
def test_separators_are_those_of_the_locale(locale: str, number: str, percent: str) -> None:
    language = Language(locale, shipped_language("en").sentences)
    assert language.localized("1,234.5") == number
    assert language.percent("12.5%") == percent


def test_pages_of_cases_have_no_sentence_beside_the_language() -> None:
    """With every sentence replaced by its name, only what was written in the case is left."""
    moment, award = "2030-01-02T03:04+00:00", {"giver": "G", "taker": "K", "minor": 12, "currency": "EUR"}
    evidence = [{"name": "F", "digest": "D", "bytes": 3}]
    opened = {"claimant": "C", "contributors": ["Z"], "works": [], "reason": "R", "deadline": "", "evidence": evidence}
    kept = "JUNE still holds €1.00 of ZOE: case AB"
    decided = {"outcome": "reverse", "reason": "R", "awards": [award], "evidence": [], "statements": [], "kept": [kept]}
    said = (("opened", opened), ("message", {"text": "M", "evidence": []}), ("decided", decided))
    acts = [Act(n, "case", "AB", kind, "BY", body, "0", "1", moment) for n, (kind, body) in enumerate(said)]
    names = {
        name: f"{name.upper()} " + " ".join(sorted(set(re.findall(r"\{\w+\}", text))))
        for name, text in shipped_language("en").sentences.items()
    }
    own = language_of({"locale": "en", **names, "date_pattern": "y"}, "own.yaml")
    for case, state, held in ((Case.of(acts), "reversed", ()), (Case.of(acts[:2]), "open", (("Z", "P", "1"),))):
        written = words_of(render_case(CasePage(case, state, held, ("F",)), own))
        left = set(re.findall(r"\b[a-z]{3,}\b", re.sub(r"Royalty|January|UTC|case AB", "", written)))
        assert not left, left
    german = words_of(render_case(CasePage(Case.of(acts), "reversed", (), ()), shipped_language("de")))
    assert "JUNE hält weiterhin €1.00 von ZOE zurück" in german


def test_pages_of_approvals_have_no_sentence_beside_the_language() -> None:
    moment, people = "2030-01-02T03:04+00:00", {f"P{place}": 12 for place in range(SHOWN + 1)}
    everybody = {"paid_before": [], "moved": [*people, "Z"], "loosened": True, "money": "€{}".format}
    rules = ApprovalRules(5, first_payee=True, changed_account=True)
    reasons = reasons_to_wait(rules, people, **everybody)
    reasons += reasons_to_wait(rules, {"Z": 12}, **everybody)
    reasons += reasons_to_wait(rules, {"Z": 12}, **{**everybody, "paid_before": ["Z"]})
    reasons += reasons_to_wait(rules, people, **{**everybody, "paid_before": people})
    request = {"pool": "JUNE", "period": "", "currency": "EUR", "gets": people, "reasons": list(dict.fromkeys(reasons))}
    asked = Act(0, "approval", "AB", "requested", "BY", request, "0", "1", moment)
    few = Act(0, "approval", "AB", "requested", "BY", {**request, "gets": {"Z": 12}}, "0", "1", moment)
    names = {
        name: f"{name.upper()} " + " ".join(sorted(set(re.findall(r"\{\w+\}", text))))
        for name, text in shipped_language("en").sentences.items()
    }
    own = language_of({"locale": "en", **names, "date_pattern": "y"}, "own.yaml")
    written = ""
    for first, kind in ((asked, ""), (few, "approved"), (few, "rejected")):
        verdict = [Act(1, "approval", "AB", kind, "ME", {"note": "N"}, "0", "1", moment)] if kind else []
        written += words_of(render_approval(ApprovalPage(Approval("AB", (first, *verdict))), own))
    left = set(re.findall(r"\b[a-z]{3,}\b", re.sub(r"Royalty|January|UTC", "", written)))
    assert not left, left
    known = {name.upper() for name in names if name.startswith(("approval_", "recorded_wait"))}
    assert known - set(re.findall(r"\w+", written)) == set()
    german = words_of(render_approval(ApprovalPage(Approval("AB", (few,))), shipped_language("de")))
    for part in (
        "0,12\xa0€ aus",
        "Sie zahlt zum ersten Mal an Z.",
        "wartet auf eine zweite Person",
        "und 191 weitere.",
    ):
        assert part in german, part


def test_the_page_of_an_audit_pack_has_no_sentence_beside_the_language() -> None:
    kinds = ("division", "correction", "release", "decision", "export")
    statements = tuple(
        ShownStatement(place, f"I{place}", "2030-01-02", "JUNE", kind, "EUR", 123456, 12, 0, "H")
        for place, kind in enumerate(kinds)
    )
    page = AuditPage("H", 1234, statements, ((1, "2030-01-02", "K"),), ("D",), 2, "A")
    names = {
        name: f"{name.upper()} " + " ".join(sorted(set(re.findall(r"\{\w+\}", text))))
        for name, text in shipped_language("en").sentences.items()
    }
    own = language_of({"locale": "en", **names, "date_pattern": "y"}, "own.yaml")
    written = words_of(render_audit(page, own)) + words_of(render_audit(replace(page, checkpoints=()), own))
    left = set(re.findall(r"\b[a-z]{3,}\b", written.replace("Royalty", "")))
    assert not left, left
    known = {name.upper() for name in names if name.startswith("audit_")} | {f"KIND_{kind.upper()}" for kind in kinds}
    assert known - set(re.findall(r"\w+", written)) == set()
    german = render_audit(page, shipped_language("de"))
    assert '<html lang="de" dir="ltr">' in german
    assert "1.234,56\xa0€" in german
    assert "Buchungen: 1.234." in german
