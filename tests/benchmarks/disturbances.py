"""Take away what a run needs, in the middle of it: does it survive, or fail with one error and go on when repeated?

python -m tests.benchmarks.disturbances [postgresql mlflow disk flows payouts dask]

`disk` mounts a small file system, for which it has to be root.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from royalty.infra.ledger.ledger import Ledger
from royalty.infra.processes.machine import HOST, free_port
from royalty.infra.servers.loopback import QUIET, Server
from royalty.infra.servers.postgres import throwaway_postgres
from royalty.infra.stores.database import open_database
from royalty.infra.stores.runstore import RunStore
from tests.benchmarks.kills import CONFIG
from tests.conftest import ROYALTY

COALITIONS = 32
"""Recorded before anything is taken away; a fifth of all."""

DISK = "600m"

TITLE = """\
`royalty run` on {coalitions} coalitions, from which something is taken once {begun} of them are recorded. If it fails,
it is run again. Repeated: coalitions recorded by then that were trained again. Same: the credit table is that of an
undisturbed run, to the last digit.
"""


def start(folder: Path, home: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return subprocess.Popen(
        [ROYALTY, *arguments, "--json"],
        cwd=folder,
        env={**own, "ROYALTY_HOME": str(home), "ROYALTY_WORKERS": "2", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, home: Path, **environment: str) -> subprocess.Popen[str]:
    return start(folder, home, "run", "--config", "small.yaml", **environment)


def ended(process: subprocess.Popen[str]) -> tuple[dict[str, Any] | None, str]:
    """What it printed, or None; and what it said of a failure."""
    out, errors = process.communicate()
    return (json.loads(out), "") if process.returncode == 0 else (None, errors.strip())


def recorded(url: str) -> dict[str, dict[str, Any]]:
    return {one.key: asdict(one) for one in RunStore(open_database(url)).all_coalitions()}


def disturb(
    name: str,
    folder: Path,
    home: Path,
    url: str,
    expected: str,
    take_away: Callable[[int], threading.Timer | None],
    **environment: str,
) -> None:
    """Print what becomes of a run.

    Args:
        take_away: of the run's process; returns what gives it back later, which a repetition waits for.
    """
    began = time.perf_counter()
    process = run(folder, home, **environment)
    while process.poll() is None and len(recorded(url)) < COALITIONS:
        time.sleep(0.2)
    before = recorded(url)
    giving_back = take_away(process.pid)
    result, error = ended(process)
    if result is None:
        lines = error.splitlines()
        said = f"failed with {len(lines)} line(s): {lines[-1][:160]}"
        if giving_back:
            giving_back.join()
        result, error = ended(run(folder, home, **environment))
        said += "; repeated, " + ("it finished" if result else f"it failed: {error[-200:]}")
    else:
        said = "survived"
    after = recorded(url)
    repeated = sum(after.get(key) != row for key, row in before.items())
    same = bool(result) and result["table"] == expected
    row = f"{len(before):>9}{repeated:>10}{'yes' if same else 'NO':>6}{time.perf_counter() - began:>9.0f}"
    print(f"{name:<12}{row}  {said}", flush=True)
    if repeated or not same:
        raise SystemExit(f"{name}: something was lost, repeated or changed")


def after(seconds: float, work: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, work)
    timer.start()
    return timer


def sqlite_url(home: Path) -> str:
    home.mkdir()
    return f"sqlite:///{home / 'royalty.db'}"


def without_postgresql(folder: Path, expected: str) -> None:
    with throwaway_postgres() as server:
        url = server.create_database("royalty")

        def away(_pid: int) -> threading.Timer:
            server.stop()
            return after(20, server.start)

        disturb("postgresql", folder, folder / "postgresql", url, expected, away, ROYALTY_DATABASE_URL=url)


def without_mlflow(folder: Path, expected: str) -> None:
    port, home = free_port(), folder / "mlflow"
    command = ["mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/tracking.db", "--artifacts-destination", f"{folder}/files"]

    def begin() -> Server:
        return Server(command, port=port, health="/health", log=folder / "mlflow.log", environment=QUIET)

    servers = [begin()]
    servers[0].wait_until_ready()

    def away(_pid: int) -> threading.Timer:
        servers[-1].stop()
        return after(60, lambda: servers.append(begin()))

    try:
        url = sqlite_url(home)
        disturb("mlflow", folder, home, url, expected, away, ROYALTY_MLFLOW_URI=servers[0].url)
    finally:
        servers[-1].stop()


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def on_a_full_disk(folder: Path, expected: str) -> None:
    with small_disk(folder / "disk"):
        filling = folder / "disk" / "filling"

        def fill(_pid: int) -> threading.Timer:
            with filling.open("wb", buffering=0) as stream:
                try:
                    while stream.write(bytes(2**16)) == 2**16:
                        pass
                except OSError:  # full
                    pass
            return after(15, filling.unlink)

        home = folder / "disk" / "home"
        disturb("disk", folder, home, sqlite_url(home), expected, fill)


def of_a_dask_worker(folder: Path, expected: str) -> None:
    def kill(pid: int) -> None:
        listed = subprocess.run(["ps", "-eo", "pid,pgid,args"], capture_output=True, text=True, check=True).stdout
        rows = [line.split(maxsplit=2) for line in listed.splitlines()[1:]]
        workers = [int(one) for one, group, args in rows if group == str(pid) and "spawn_main" in args]
        os.kill(workers[0], signal.SIGKILL)

    home = folder / "dask"
    disturb("dask", folder, home, sqlite_url(home), expected, kill, ROYALTY_RUNNER="dask")


def two_flows(folder: Path, expected: str) -> None:
    began = time.perf_counter()
    home = folder / "flows"
    url = sqlite_url(home)
    both = [run(folder, home), run(folder, home)]
    results = [ended(process) for process in both]
    for result, error in results:
        if result is None or result["table"] != expected:
            raise SystemExit(f"two flows at once: {error or 'another table'}")
    trained = sum(result["measured"] for result, _ in results if result)
    said = f"both finished; they trained {trained} for {len(recorded(url))} coalitions"
    print(f"{'flows':<12}{'':>9}{'':>10}{'yes':>6}{time.perf_counter() - began:>9.0f}  {said}", flush=True)


def two_payouts(folder: Path, home: Path) -> None:
    began = time.perf_counter()
    asked = ["payout", "--credit", "small", "--pool", "77.00", "--currency", "EUR", "--period", "2026-05"]
    both = [start(folder, home, *asked), start(folder, home, *asked)]
    results = [ended(process) for process in both]
    if errors := [error for result, error in results if result is None]:
        raise SystemExit(f"two payouts at once: {errors}")
    book = Ledger(open_database(f"sqlite:///{home / 'royalty.db'}"))
    posted = [one for one in book.statements() if one.period == "2026-05"]
    said = f"both answered with one statement; the ledger holds {len(posted)}"
    same = len({result["statement"] for result, _ in results if result}) == len(posted) == 1
    same = same and sum(book.balance("small", period="2026-05").values()) == 7700
    row = f"{'yes' if same else 'NO':>6}{time.perf_counter() - began:>9.0f}"
    print(f"{'payouts':<12}{'':>9}{'':>10}{row}  {said}", flush=True)
    if not same:
        raise SystemExit("payouts: paid twice, or not")


KINDS = {
    "postgresql": without_postgresql,
    "mlflow": without_mlflow,
    "disk": on_a_full_disk,
    "flows": two_flows,
    "dask": of_a_dask_worker,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", default=[*KINDS, "payouts"])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        folder = Path(place)
        (folder / "small.yaml").write_text("name: small\n" + CONFIG)
        quiet, error = ended(run(folder, folder / "quiet"))
        if quiet is None:
            raise SystemExit(f"the undisturbed run failed: {error}")
        print(TITLE.format(coalitions=quiet["measured"], begun=COALITIONS))
        print(f"{'taken away':<12}{'recorded':>9}{'repeated':>10}{'same':>6}{'seconds':>9}  what became of the run")
        for kind in chosen.kinds:
            if kind == "payouts":
                two_payouts(folder, folder / "quiet")
            else:
                KINDS[kind](folder, quiet["table"])


if __name__ == "__main__":
    main()
