"""The documentation does what it says: Python blocks run, commands exist, configurations are valid, links lead on.

A ```python block runs, with the other Python blocks of its page, unless `<!-- not run: REASON -->` stands above it.
A ```console block holds commands after `$ `. A ```yaml block is the configuration of a run unless
`<!-- config: value|gmvaluator|index|detection|criteria|payout|none -->` stands above it.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from tests.docs.blocks import PAGES, ROOT, Block, blocks, blocks_of, commands

GENERATOR = ROOT / "docs" / "generator"


def _product() -> ModuleType:
    """The one module of the documentation that names modules of the product."""
    spec = importlib.util.spec_from_file_location("documented_product", GENERATOR / "product.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def product() -> ModuleType:
    return _product()


RUNNING = [page for page in PAGES if any(block.language == "python" and not block.not_run for block in blocks_of(page))]


@pytest.mark.parametrize("page", RUNNING, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROYALTY_HOME", str(tmp_path / "home"))
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks_of(page):
        if block.language == "python" and not block.not_run:
            code = "\n" * (block.line - 1) + block.text  # errors name the line of the page
            exec(compile(code, str(page), "exec"), namespace)


def parse(app: Any, words: list[str]) -> None:
    """Read a command as the command line would, without running it.

    Raises:
        ValueError: there is no such command, or it does not take these options.
    """
    command, rest = get_command(app), words
    while hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            raise ValueError(f"no command: {' '.join(words)}")
        command, rest = command.commands[rest[0]], rest[1:]
    try:
        command.make_context("royalty", list(rest))
    except Exception as error:
        raise ValueError(f"royalty {' '.join(words)}: {error}") from error


def program(line: str) -> list[str]:
    """The words of a command, without the variables set before it and the comment behind it."""
    words = shlex.split(line, comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):
        del words[0]
    return words


ROYALTY = [(place, program(line)[1:]) for place, line in commands() if program(line)[:1] == ["royalty"]]


@pytest.mark.parametrize(("place", "words"), ROYALTY, ids=[f"{place} {' '.join(words)}" for place, words in ROYALTY])
def test_commands_exist(place: str, words: list[str], product: ModuleType) -> None:
    parse(product.app, words)


@pytest.mark.parametrize("words", [["rum"], ["run", "--nothing"], ["value"], ["evaluate"], ["trace"], []])
def test_what_is_no_command_is_found_out(words: list[str], product: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"no command|royalty"):
        parse(product.app, words)


MODULES = sorted({module for page in PAGES for module in re.findall(r"python -m ([\w.]+)", page.read_text("utf-8"))})


@pytest.mark.parametrize("module", MODULES)
def test_modules_that_are_to_be_run_exist(module: str) -> None:
    assert importlib.util.find_spec(module)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    asked = {program(line)[1] for _, line in commands() if program(line)[0] == "make"}
    assert asked
    assert asked <= targets


def loaders(product: ModuleType) -> dict[str, Callable[[Path], Any]]:
    """By what a comment above a YAML block says: what reads such a file."""
    return {
        "run": lambda file: product.load_config(file=file, preset=None, name=None),
        "value": lambda file: product.load_value_config(file, {"method": "lava"}),
        "gmvaluator": lambda file: product.load_gmvaluator_config(file, {}),
        "index": lambda file: product.load_index_config(file, {}),
        "detection": lambda file: product.load_detection_config(file, {}),
        "criteria": lambda file: product.load_criteria_config(file, {}),
        "payout": lambda file: product.load_payout_config(file, {}, {}, {}),
    }


CONFIGURATIONS = [block for block in blocks("yaml") if block.config != "none"]


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=lambda block: block.place)
def test_configurations_are_valid(block: Block, product: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "configuration.yaml"
    file.write_text(block.text, encoding="utf-8")
    assert loaders(product)[block.config](file)


def test_an_invalid_configuration_is_found_out(product: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "configuration.yaml"
    file.write_text("pruning: {ratio: 2}", encoding="utf-8")
    with pytest.raises(ValueError, match="ratio"):
        loaders(product)["run"](file)


def test_generated_pages_are_what_the_code_says() -> None:
    check = subprocess.run([sys.executable, GENERATOR, "--check"], cwd=ROOT, capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


LINK = re.compile(r"!?\[[^\]]*\]\((?!https?://|#)([^)#\s]+)")


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *PAGES[3:]], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_readme_fits() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150
