"""What orchestration costs: coalition runs logged to MLflow, and as many tasks through Prefect.

    python -m tests.benchmarks.tracking_overhead [--coalitions 500] [--pages]

Over a database file and over a server, by what a run itself logs: parent, members, utility, dataset, description. With
`--pages`, the run table of those runs is opened in headless Chromium, three times, on the server that holds them.
"""

from __future__ import annotations

import argparse
import atexit
import os
import tempfile
import time
from pathlib import Path

from royalty.infra.servers.loopback import configure, mlflow_server, prefect_server
from royalty.infra.settings import Settings
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord

# Prefect reads its environment when it is imported, so that what imports it waits until a server is there.
LIMITS = {"database file": 80.0, "server over HTTP": 160.0}
PAGE_SECONDS = 2.0
PEOPLE = tuple(f"contributor-{index:02}" for index in range(20))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--coalitions", type=int, default=500)
    parser.add_argument("--pages", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        configure(settings)
        prefect = prefect_server(settings, schedules=False)
        atexit.register(prefect.stop)  # after Prefect's own exit handlers, which send it the last events
        prefect.wait_until_ready()
        os.environ["PREFECT_API_URL"] = f"{prefect.url}/api"
        tasks = prefect_seconds(given.coalitions)
        print(f"{given.coalitions} tasks through Prefect: {tasks:.1f} s, {1000 * tasks / given.coalitions:.0f} ms each")
        print(f"{'MLflow store':18}{'seconds':>9}{'ms a coalition, with its task':>32}{'limit':>8}{'ratio':>7}")
        logged = mlflow_seconds(settings, given.coalitions)
        show("database file", logged, tasks, given.coalitions)
        server = mlflow_server(settings)
        server.wait_until_ready()
        remote = Settings(home=Path(folder), mlflow_uri=server.url)
        show("server over HTTP", mlflow_seconds(remote, given.coalitions), tasks, given.coalitions)
        if given.pages:
            open_pages(server.url, remote)
        server.stop()


def show(store: str, logged: float, tasks: float, coalitions: int) -> None:
    each, limit = 1000 * (logged + tasks) / coalitions, LIMITS[store]
    print(f"{store:18}{logged:9.1f}{each:32.0f}{limit:8.0f}{each / limit:7.2f}", flush=True)


def prefect_seconds(count: int) -> float:
    """Seconds of a flow that maps a task that does nothing, without what a flow costs by itself."""
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.task_runners import ThreadPoolTaskRunner

    @task(cache_policy=NO_CACHE)
    def nothing(_index: int) -> None:
        return None

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def mapped(tasks: int) -> float:
        began = time.perf_counter()
        nothing.map(list(range(tasks))).wait()
        return time.perf_counter() - began

    mapped(2)
    return mapped(count)


def mlflow_seconds(settings: Settings, count: int) -> float:
    """Seconds of logging this many coalitions as a run does, under a parent."""
    from royalty.infra.tracking.client import open_tracking
    from royalty.tasks.report.coalition_runs import coalition_run

    brought = {name: digest_of(name) for name in PEOPLE}
    runs = []
    for index in range(count):
        key = digest_of(["coalition", index])
        members = [name for place, name in enumerate(PEOPLE) if digest_of([index, place]) < "8"]
        row = CoalitionRecord(key, members, "sparsified", 0, 50 * len(members), 1.0, "cpu", key)
        measured = MeasurementRecord(digest_of([key]), key, "fid", 0, index / count, 1.0, 1.0)
        runs.append(coalition_run(row, [measured], brought))
    tracking = open_tracking(settings)
    tracking.prepare()
    parent = tracking.start(tracking.RUNS, "benchmark", key=digest_of(["benchmark", settings.mlflow_uri]))
    began = time.perf_counter()
    assert len(tracking.record_all(tracking.COALITIONS, runs, parent, lambda _done: None)) == count
    return time.perf_counter() - began


def open_pages(url: str, settings: Settings) -> None:
    """Seconds from the address to the first row of the run table, newest first, and sorted by utility."""
    from royalty.infra.tracking.client import open_tracking
    from tests.browser import Browser

    experiment = open_tracking(settings).experiments()["coalitions"]
    address = f"{url}/#/experiments/{experiment}/runs"
    with Browser() as browser:
        for attempt in range(3):
            began = time.perf_counter()
            browser.open("about:blank")
            browser.open(f"{address}?orderByKey=metrics.%60utility%60&orderByAsc=false", wait=False)
            browser.until("document.body && document.body.innerText.includes('coalition-')", 60)
            took = time.perf_counter() - began
            print(f"run table, opening {attempt + 1}: {took:.2f} s of {PAGE_SECONDS:.0f} s", flush=True)


if __name__ == "__main__":
    main()
