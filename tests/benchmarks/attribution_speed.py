"""How fast the attribution service answers, over HTTP on this machine, once an image is embedded.

    python -m tests.benchmarks.attribution_speed --items 1000000

One client sends embeddings one after the other; every answer is on disk before it is sent. The vectors are those of
`tests.benchmarks.index_scale`.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import uvicorn

from royalty.infra.attribution.api import create_app
from royalty.infra.attribution.keys import KeyFile
from royalty.infra.attribution.usage_log import UsageLog
from royalty.infra.stores.weights import WeightsStore
from royalty.models.retrieval.codebook import CODE
from royalty.tasks.attribution.attributing import Attributor
from tests.benchmarks.index_scale import Made, index_in, memory

REQUESTS = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--port", type=int, default=8751)
    parser.add_argument("--folder", type=Path, help="folder of `index_scale`, whose index is used")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        store, _ = index_in(options.folder or home, options.items, CODE)
        attributor = Attributor({("scale", "1"): store.folder}, WeightsStore(home / "weights"))
        attributor.open_all()
        keys, log = KeyFile(home / "attribution" / "keys.json"), UsageLog(home / "attribution" / "log.db")
        secret = keys.add("benchmark", ["attribute"], rate=1e6, burst=1_000_000)
        address = f"127.0.0.1:{options.port}"
        app = create_app(attributor, log, keys, hosts=[address], sizes=attributor.sizes)
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=options.port, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        queries = Made(REQUESTS, 2).block(0)
        seconds, cpu = [], 0.0
        with httpx.Client(base_url=f"http://{address}", headers={"Authorization": f"Bearer {secret}"}) as client:
            for number, query in enumerate(queries):
                body = {
                    "id": str(number),
                    "model": "scale",
                    "time": "2026-05-03T12:00:00Z",
                    "embedding": query.tolist(),
                    "encoder": "made",
                }
                if number == REQUESTS // 10:
                    cpu = time.process_time()
                began = time.perf_counter()
                answer = client.post("/v1/attributions", json=body)
                seconds.append(time.perf_counter() - began)
                answer.raise_for_status()
        busy = 1e3 * (time.process_time() - cpu) / (REQUESTS - REQUESTS // 10)
        server.should_exit = True
        thread.join()
        used, milliseconds = memory(), 1e3 * np.array(seconds[REQUESTS // 10 :])
        print(f"{options.items} items, {REQUESTS} requests: median {np.median(milliseconds):.1f} ms, "
              f"95% within {np.quantile(milliseconds, 0.95):.1f} ms; "
              f"{busy:.1f} ms of processor time each, the client's in it; {log.count()} in the log; "
              f"{used['RssAnon']:.0f} MiB allocated, {used['RssFile']:.0f} MiB mapped")  # fmt: skip


if __name__ == "__main__":
    main()
