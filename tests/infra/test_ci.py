"""The workflow template for GitHub Actions: by its schema, and its commands against stand-ins of the tools."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
WORKFLOW = ROOT / "infra" / "deploy" / "ci" / "royalty-revalue.yml"
STEPS: dict[str, dict[str, Any]] = {
    step["name"]: step for step in yaml.safe_load(WORKFLOW.read_text())["jobs"]["revalue"]["steps"] if "name" in step
}


def stand_in(folder: Path, name: str, script: str) -> None:
    """A command of this name that only the steps see."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def run(step: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the commands of a step as GitHub does."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[step]["run"]],
        cwd=folder,
        env={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(folder / "output"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_workflows_fit_the_schema() -> None:
    command = Path(sys.executable).with_name("check-jsonschema")
    files = [WORKFLOW, *sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))]
    for schema in ("vendor.github-workflows", "custom.github-workflows-require-timeout"):
        done = subprocess.run([command, "--builtin-schema", schema, *files], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("code", "change", "revaluation"), [(0, 0, 1), (10, 0, 0), (1, 1, 1)])
def test_ten_is_a_success_and_one_is_none(tmp_path: Path, code: int, change: int, revaluation: int) -> None:
    stand_in(tmp_path / "bin", "royalty", f'echo "$@" >> said; exit {code}')
    assert run("Say what changed", tmp_path, CONFIG="a b.yaml").returncode == change
    assert (tmp_path / "output").read_text() == f"code={code}\n"
    assert run("Revalue", tmp_path, CONFIG="a b.yaml").returncode == revaluation
    assert (tmp_path / "said").read_text().splitlines() == [
        "revalue --config a b.yaml --dry-run --summary summary.md",
        "revalue --config a b.yaml --summary summary.md",
    ]
    assert STEPS["Revalue"]["if"] == "steps.change.outputs.code == '10'"


def test_the_summary_is_commented_on_the_pull_request(tmp_path: Path) -> None:
    (tmp_path / "summary.md").write_text("said")
    stand_in(tmp_path / "bin", "gh", 'echo "$@" > asked')
    given = {"PULL_REQUEST": "7", "GITHUB_REPOSITORY": "a/b", "GITHUB_STEP_SUMMARY": str(tmp_path / "shown")}
    assert run("Comment the summary", tmp_path, **given).returncode == 0
    assert (tmp_path / "asked").read_text() == "pr comment 7 --repo a/b --body-file summary.md\n"
    assert run("Show the summary", tmp_path, **given).returncode == 0
    assert (tmp_path / "shown").read_text() == "said"
    assert "${{" not in "".join(step.get("run", "") for step in STEPS.values()), (
        "text of others is no part of a command"
    )


CLEAN = '{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}'
SICK = '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1"}]}]}'
UNKNOWN = '{"dependencies": [{"name": "a", "skip_reason": "Dependency not found"}]}'


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        (f"echo '{CLEAN}' > audit.json", 0, "knows of no vulnerability in 1 packages"),
        (f"echo '{SICK}' > audit.json; exit 1", 1, "CVE-1"),
        (f"echo '{UNKNOWN}' > audit.json", 0, "Skipped: pip-audit could not reach its data"),
        ("echo 'Max retries exceeded with url' >&2; exit 1", 0, "Skipped: pip-audit could not reach its data"),
        ("echo 'usage: no such option' >&2; exit 2", 2, "no such option"),
    ],
)
def test_an_audit_without_its_data_is_skipped_and_says_so(tmp_path: Path, script: str, code: int, said: str) -> None:
    stand_in(tmp_path / "bin", "pip-audit", script)
    done = run("Audit dependencies", tmp_path)
    assert (done.returncode, said in done.stdout) == (code, True), done.stdout + done.stderr
    own = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yaml").read_text())["jobs"]["test"]["steps"]
    assert STEPS["Audit dependencies"] in own, "the product's own dependencies are audited likewise"
