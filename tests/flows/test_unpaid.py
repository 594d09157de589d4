"""A run whose credit is positive for nobody, so that no terms can pay it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SMALL, Run

UNPAYABLE = SMALL.replace("credit: {bootstrap: 100}", "credit: {bootstrap: 100, confidence: 0.999999}").replace(
    "payout: {post: true, limits: {stderr: null}}", "payout: {post: POST, policy: lower-bound, limits: {stderr: null}}"
)
"""At this confidence the low end of no interval is positive."""


@pytest.mark.slow
def test_a_run_that_pays_nobody_prints_its_credit_and_says_why(royalty: Run, tmp_path: Path) -> None:
    for post, code in (("false", 0), ("true", 1)):
        (tmp_path / "mine.yaml").write_text(UNPAYABLE.replace("POST", post), encoding="utf-8")
        done = royalty("run", "--config", "mine.yaml")
        assert done.returncode == code, done.stderr
        words = " ".join(done.stdout.split())
        assert "Contributor Rank Images Credit Interval Share EUR" in words
        assert words.count("none none") >= 3, "a row each, without share and amount"
        assert (
            "No payout the policy 'lower-bound' pays for positive credit, and none of the 3 contributors has any"
            in words
        )
        assert "measure more coalitions, or train the generator longer" in words
        assert (tmp_path / "home" / "runs").is_dir()
        assert "Report" in words
        if post == "true":
            assert "nothing was paid from the pool" in done.stderr
            assert done.stderr.count("\n") == 1, "one line"
