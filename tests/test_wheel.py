"""The wheel: it holds every room, and works in a folder whose own `models`, `tasks`, `flows` and `infra` are others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient

from tests.conftest import SMALL

ROOT = Path(__file__).parent.parent
ROOMS = ("flows", "tasks", "models", "infra")
DATA = ("flows/presets", "infra/pages/languages", "infra/pages/templates", "models/data/tables")
"""Folders of what is no Python and belongs into a wheel."""

HOSTILE = 'raise RuntimeError(f"{__name__} of the current folder was imported")\n'


def test_every_folder_with_modules_is_a_package_of_the_wheel() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {file.parent.relative_to(ROOT) for room in ROOMS for file in (ROOT / room).rglob("*.py")}
    wanted = {".".join(("royalty", *folder.parts)) for folder in folders} - {"royalty.infra.stores.migrations.versions"}
    assert set(listed) == wanted | {"royalty"}
    assert not [
        folder for folder in folders if folder.name != "versions" and not (ROOT / folder / "__init__.py").exists()
    ]


def test_the_folder_of_the_package_holds_its_front_alone() -> None:
    assert {path.name for path in (ROOT / "royalty").iterdir()} - {"__pycache__"} == {"__init__.py", "py.typed"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built from a copy so that nothing is left in it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in (*ROOMS, "royalty"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *build, str(folder / "source")], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commands of a new environment that has the wheel, and the libraries of this one, and no editable install."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, timeout=120)
    python = home / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-warn-script-location", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True, timeout=240)
    (packages,) = (home / "lib").glob("python*/site-packages")
    # A .pth file adds folders without reading the .pth files in them, by which editable installs are found.
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "libraries.pth").write_text("\n".join(libraries))
    source = [python, "-c", "import royalty.flows.cli.app as app; print(app.__file__)"]
    assert Path(subprocess.check_output(source, text=True, cwd=home).strip()).is_relative_to(packages)
    return home / "bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a user, with packages of the names of the rooms that fail when they are imported."""
    for room in (*ROOMS, "royalty_plugins"):
        (tmp_path / "work" / room).mkdir(parents=True)
        (tmp_path / "work" / room / "__init__.py").write_text(HOSTILE)
    for name in ("credit", "config"):
        (tmp_path / "work" / "tasks" / f"{name}.py").write_text(HOSTILE)
    return tmp_path / "work"


@pytest.fixture
def outside(tmp_path: Path) -> dict[str, str]:
    """Environment of a user whose interpreter looks in the current folder, too."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "ROYALTY_"))}
    return own | {
        "PYTHONPATH": ".",
        "ROYALTY_HOME": str(tmp_path / "home"),
        "ROYALTY_WORKERS": "2",
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }


def ended(command: list[str | Path], folder: Path, environment: dict[str, str]) -> str:
    """What a command that succeeds writes."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of the current folder was imported" not in done.stdout + done.stderr
    return done.stdout


@pytest.mark.cli
@pytest.mark.slow
def test_all_that_is_no_python_is_in_the_wheel(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    files = {path for folder in DATA for path in (ROOT / folder).iterdir() if path.is_file()}
    assert {f"royalty/{path.relative_to(ROOT)}" for path in files} <= names
    modules = {path for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert {f"royalty/{path.relative_to(ROOT)}" for path in modules} <= names
    assert "royalty/py.typed" in names
    assert not [name for name in names if name.split("/")[0] in ROOMS]


@pytest.mark.cli
@pytest.mark.slow
def test_commands_and_imports_are_those_of_the_wheel(scripts: Path, folder: Path, outside: dict[str, str]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert ended([scripts / "royalty", "--version"], folder, outside) == f"royalty {version}\n"
    presets = json.loads(ended([scripts / "royalty", "presets", "--json"], folder, outside))
    assert {preset["name"] for preset in presets} == {file.stem for file in (ROOT / "flows" / "presets").iterdir()}
    code = "import royalty; print(royalty.__version__, royalty.divide_pool(10, {'Ada': (1, 1, 1)}).reserve)"
    assert ended([scripts / "python", "-c", code], folder, outside) == f"{version} 0\n"


@pytest.mark.cli
@pytest.mark.cluster
@pytest.mark.parametrize("runner", ["threads", "dask"])
def test_a_run_is_one_of_the_wheel(runner: str, scripts: Path, folder: Path, outside: dict[str, str]) -> None:
    (folder / "tiny.yaml").write_text(SMALL)
    environment = outside | {"ROYALTY_RUNNER": runner}
    result = json.loads(ended([scripts / "royalty", "run", "--config", "tiny.yaml", "--json"], folder, environment))
    assert result["measured"] == 8  # all coalitions of three
    assert len(result["rows"]) == 3
    assert (Path(result["folder"]) / "report.html").exists()
    # A script without a guard, which Dask's workers and our processes would run again, finds all of that finished.
    (folder / "again.py").write_text("import royalty\nprint(royalty.run('tiny.yaml').reused)\n")
    assert ended([scripts / "python", "again.py"], folder, environment) == "8\n"


@pytest.fixture
def served(outside: dict[str, str], prefect_url: str) -> dict[str, str]:
    return outside | {"PREFECT_API_URL": prefect_url}


@pytest.mark.cli
@pytest.mark.cluster
def test_a_process_worker_runs_a_deployment_of_the_wheel(scripts: Path, folder: Path, served: dict[str, str]) -> None:
    (folder / "prefect.yaml").write_text(
        "pull: []\n"
        "deployments:\n"
        "- {name: outside, entrypoint: royalty.flows.credit.credit, work_pool: {name: outside}}\n"
    )
    prefect = [scripts / "python", "-P", "-m", "prefect", "--no-prompt"]
    ended([*prefect, "work-pool", "create", "outside", "--type", "process"], folder, served)
    ended([*prefect, "deploy", "--all"], folder, served)
    config = yaml.safe_load(SMALL) | {"name": "outside"}
    with SyncPrefectClient(served["PREFECT_API_URL"]) as client:
        deployment = client.read_deployment_by_name("credit/outside")
        run = client.create_flow_run_from_deployment(deployment.id, parameters={"config": config})
        ended([*prefect, "worker", "start", "--pool", "outside", "--run-once"], folder, served)
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert state.is_completed(), state.message
    assert (Path(served["ROYALTY_HOME"]) / "runs" / "outside" / "report.html").exists()
