"""A set is read, kept and learned from by a process that holds a small part of it at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROGRAM = """
import json, sys, threading, time
from pathlib import Path
import torch
from royalty.models.data import duplicates
from royalty.models.data.credited import read_images
from royalty.models.data.folder import read_manifest
from royalty.models.data.stored import open_set, set_pieces
from royalty.models.generators.ddpm import DDPM
from royalty.models.generators.unets import Architecture
from royalty.tasks.credit.ingest import _outputs

def own():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])

torch.set_num_threads(1)
duplicates.NUMBERS //= 16  # what it holds at a time, whatever the set, is more than this set
size = int(sys.argv[2])
warm = DDPM.build(Architecture(size, 3, (4, 4), 1), seed=0)
warm.fit(torch.zeros(1, 3, size, size, dtype=torch.uint8).numpy(), steps=1, batch_size=1, learning_rate=1e-3,
         ema_decay=0.5, seed=0)
held, running, peak = own(), True, 0

def watch():
    global peak
    while running:
        peak = max(peak, own() - held)
        time.sleep(0.002)

watching = threading.Thread(target=watch)
watching.start()
folder = Path(sys.argv[1])
read = read_images(read_manifest(folder), size=size, validation=0.1, classifier=0.1, seed=0, folder=folder)
_outputs(read.splits, dict.fromkeys(vars(read.splits), ""), read.squares, read.splits.train.images)
with (folder / "kept").open("wb") as file:
    for piece in set_pieces(read.splits.train, read.squares):
        file.write(piece)
kept = open_set(folder / "kept")
losses = warm.fit(kept.images, steps=2, batch_size=1, learning_rate=1e-3, ema_decay=0.5, seed=0)
running = False
watching.join()
print(json.dumps({"images": kept.images.nbytes, "peak": peak, "losses": losses}))
"""


@pytest.mark.slow
def test_a_set_takes_a_part_of_its_memory(tmp_path: Path) -> None:
    rows = ["file_name,contributor,label"]
    for place, shade in enumerate(np.linspace(0, 255, 1500)):
        picture = np.full((8, 8, 3), int(shade), np.uint8)
        picture[place % 8] = (place // 6, 255 - place % 256, 7)  # all different
        Image.fromarray(picture).save(tmp_path / f"{place}.png")
        rows.append(f"{place}.png,{'ann' if place % 2 else 'bob'},{place % 3}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows), encoding="utf-8")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), "256"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert np.isfinite(found["losses"]).all()
    assert found["images"] > 200 * 2**20
    assert found["peak"] < found["images"] / 4, "uint8 once is all of it, and in float32 four times"
