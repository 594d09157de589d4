"""Detection of a million items: seconds and memory, their growth, and what is flagged.

python -m tests.benchmarks.detection_scale [--items 100000 1000000] [--targets 10000] [--threads 2]

Exits with 1 if the largest set takes longer than ten minutes a million items.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

from royalty.models.judging.detection import detection
from royalty.models.valuation.detector import detect_items
from tests.benchmarks.lava_speed import FLIPPED, GIB, Memory, blobs, in_fresh_process, verdict, watched
from tests.benchmarks.sava_scale import DIMENSIONS, PIECE, Written, opened, validation, write

MINUTES = 10.0
"""For a million items, on two cores."""

FDR = 0.1

TITLE = """\
Detection among training items of 10 blobs, a quarter of them mislabelled, {d} dimensions of float32 in a memory-mapped
file, by {m:,} clean items; {threads} thread(s), rate of false discoveries {fdr:g}.

Memory is of a process of its own, GiB: resident before the detection begins, at most, and at most without pages of the
file. The features take `file` GiB.
"""


def detect_file(written: Written, targets: int, threads: int) -> tuple[Memory, float, float, float, float, float]:
    """Memory, seconds, processor seconds, AUROC, fraction of clean among flagged, fraction of wrong that is flagged."""
    torch.set_num_threads(threads)
    train, labels = opened(written)
    started, busy = time.perf_counter(), time.process_time()
    with watched() as memory:
        found = detect_items(train, labels, *validation(targets), fdr=FDR)
    seconds, processor = time.perf_counter() - started, time.process_time() - busy
    wrong = torch.cat(
        [
            torch.from_numpy(blobs(min(PIECE, len(labels) - start), DIMENSIONS, seed=start, flipped=FLIPPED)[2])
            for start in range(0, len(labels), PIECE)
        ]
    ).numpy()
    flagged = found.flagged
    false = float((flagged & ~wrong).sum() / max(1, flagged.sum()))
    return memory, seconds, processor, detection(found.scores, wrong).auroc, false, float(flagged[wrong].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    print(TITLE.format(d=DIMENSIONS, m=chosen.targets, threads=chosen.threads, fdr=FDR))
    print(
        f"{'items':>10}{'seconds':>10}{'processor':>11}{'ratio':>8}{'file':>7}{'before':>9}{'peak':>8}{'anonymous':>11}"
        f"{'AUROC':>8}{'clean among flagged':>21}{'wrong flagged':>15}"
    )
    first = seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for items in chosen.items:
            written = write(Path(folder), items)
            memory, seconds, processor, auroc, false, found = in_fresh_process(
                detect_file, written, chosen.targets, chosen.threads
            )
            first = first or processor
            print(
                f"{items:>10,}{seconds:>10.1f}{processor:>11.1f}{processor / first:>8.2f}"
                f"{items * DIMENSIONS * 4 / GIB:>7.2f}{memory.before / GIB:>9.2f}{memory.peak / GIB:>8.2f}"
                f"{memory.anonymous / GIB:>11.2f}{auroc:>8.4f}{false:>21.4f}{found:>15.1%}",
                flush=True,
            )
    allowed = MINUTES * 60 * chosen.items[-1] / 1e6
    met = seconds <= allowed
    print(f"{chosen.items[-1]:,} items: {seconds:.0f} s, {verdict(met)} {allowed:g} s")
    sys.exit(not met)


if __name__ == "__main__":
    main()
