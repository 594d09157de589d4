"""Flows in plain Python: what they need is started, whatever the script that asks for them looks like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import royalty
from royalty.flows.configuration import ConfigError, as_credit_config, as_payout_config
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.payout import PayoutConfig


def script(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would, without a Prefect server that is set."""
    (folder / "mine.py").write_text(dedent(text), encoding="utf-8")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "ROYALTY_"))}
    own |= {"ROYALTY_HOME": str(folder / "home"), "ROYALTY_WORKERS": "2", "PREFECT_HOME": str(folder / "prefect")}
    return subprocess.run(
        [sys.executable, "mine.py"],
        env=own | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_configuration_is_itself_a_mapping_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 3\n")
    config = as_credit_config({"name": "mine", "seed": 3})
    assert isinstance(config, CreditConfig)
    assert as_credit_config(config) is config
    for file in (tmp_path / "mine.yaml", str(tmp_path / "mine.yaml")):
        assert as_credit_config(file) == royalty.load_config(file) == config
    with pytest.raises(ConfigError, match="the mapping: unknown key `sed`; did you mean `seed`"):
        as_credit_config({"sed": 3})
    (tmp_path / "terms.yaml").write_text("pool: 70.00\n")
    terms = as_payout_config({"pool": "70.00"})
    assert isinstance(terms, PayoutConfig)
    assert as_payout_config(terms) is terms
    assert as_payout_config(tmp_path / "terms.yaml") == terms


def test_a_trace_takes_no_server_and_says_where_it_looked(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        """
        import royalty
        try:
            royalty.trace("digits")
        except royalty.InputError as error:
            print(error)
        """,
    )
    assert "no run is recorded in" in done.stdout, done.stderr
    assert not (tmp_path / "home" / "prefect" / "server.log").exists()


@pytest.mark.parametrize("first", ["", "import prefect"])
@pytest.mark.slow
def test_a_server_is_started_whether_or_not_prefect_is_imported_before(tmp_path: Path, first: str) -> None:
    done = script(
        tmp_path,
        f"""
        {first}
        from royalty.flows.starting import started

        for _ in range(2):
            with started(None, flow="royalty.flows.trace", works=(), show_progress=False):
                from prefect import flow
                from prefect.client.orchestration import get_client
                from prefect.context import get_run_context
                from prefect.settings import PREFECT_API_URL

                @flow
                def asked() -> str:
                    return get_run_context().flow_run.id

                with get_client(sync_client=True) as client:
                    print(PREFECT_API_URL.value(), client.read_flow_run(asked()).state.type.value)
        """,
    )
    assert done.returncode == 0, done.stderr
    first_time, second_time = done.stdout.split("\n")[:2]
    assert first_time == second_time
    assert first_time.startswith("http://127.0.0.1:")
    assert first_time.endswith("COMPLETED")
    assert "Traceback" not in done.stderr


def test_processes_of_a_run_do_not_start_the_script_again(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        """
        import sys
        from multiprocessing import get_context
        from royalty.flows.starting import started
        from royalty.infra.processes.workers import Reference, run_in_process

        print("script", flush=True)
        with started(None, flow="royalty.flows.trace", works=["json"], show_progress=False):
            assert run_in_process(Reference("operator", "countOf"), [1, 1], advance=print) == 0
            spawned = get_context("spawn").Process(target=print, args=("spawned",))  # as Dask's workers are
            spawned.start()
            spawned.join()
        print(sys.modules["__main__"].__file__.endswith("mine.py"))
        """,
        PREFECT_API_URL="http://127.0.0.1:9/api",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["script", "spawned", "True"]
