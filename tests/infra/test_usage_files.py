"""Files of generations that are paid for: what is read, and what is refused."""

from __future__ import annotations

import base64
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from royalty.infra.attribution.api import AttributionRequest, recorded
from royalty.infra.attribution.shards import ShardStore
from royalty.infra.attribution.usage_log import UsageLog
from royalty.infra.stores.weights import WeightsStore
from royalty.models.base.errors import InputError
from royalty.models.encoders.registry import build_encoder
from royalty.tasks.attribution import index
from royalty.tasks.attribution.attributing import Attributor, index_folder, served_folders
from royalty.tasks.attribution.description import code_of
from royalty.tasks.items.embeddings import embedding_key
from royalty.tasks.pay.usage_reading import ByImage, Used, of_file, of_log, packed
from tests.indexed import description, table_of
from tests.models.test_near_copies import scenes

KNOWN = ["Ada", "Bob"]
HEAD = "id,time,revenue,contributor,share\n"
GOOD = (
    "1,2026-05-01T00:00:00Z,0.10,Ada,0.25\n"
    "1,2026-05-01T00:00:00Z,0.10,Bob,0.75\n"
    "2,2026-06-01T00:30:00+01:00,2,Bob,1\n"
    "3,2026-05-31T23:59:59Z,0,,\n"
)


def read(folder: Path, text: str, **names: Any) -> list[Used]:
    file = folder / names.pop("name", "use.csv")
    file.write_text(text, encoding="utf-8")
    return of_file(file, date(2026, 5, 1), date(2026, 6, 1), KNOWN, ByImage(None, "letters", "1"))


def test_generations_are_read(tmp_path: Path) -> None:
    used = read(tmp_path, HEAD + GOOD)
    assert used == [
        Used("1", "2026-05-01T00:00:00+00:00", Decimal("0.10"), {"Ada": 0.25, "Bob": 0.75}, ()),
        Used("2", "2026-05-31T23:30:00+00:00", Decimal("2"), {"Bob": 1.0}, ()),
        Used("3", "2026-05-31T23:59:59+00:00", Decimal("0"), {}, ()),
    ]
    table = pd.read_parquet(io.BytesIO(packed(used)))
    assert table["weight"].tolist() == ["0.10", "2", "0"]
    pd.read_csv(tmp_path / "use.csv").to_parquet(tmp_path / "use.parquet")
    again = of_file(tmp_path / "use.parquet", date(2026, 5, 1), date(2026, 6, 1), KNOWN, ByImage(None, "letters", "1"))
    assert [row.shares for row in again] == [row.shares for row in used]


def test_without_revenue_every_generation_weighs_one(tmp_path: Path) -> None:
    used = read(tmp_path, "id,time,contributor,share\n1,2026-05-01,Ada,1\n2,2026-05-02,Bob,1\n")
    assert pd.read_parquet(io.BytesIO(packed(used)))["weight"].tolist() == ["1", "1"]
    half = [Used("1", "", Decimal(1), {}, ()), Used("2", "", None, {}, ())]
    with pytest.raises(InputError, match="1 of 2 have none, such as '2'"):
        packed(half)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("4,2026-05-01,1,Eve,1", "generation '4' names 'Eve', an unknown contributor; there are Ada, Bob"),
        ("4,2026-05-01,-1,Ada,1", "a revenue is at least 0; got '-1'"),
        ("4,2026-05-01,NaN,Ada,1", "a revenue is at least 0; got 'NaN'"),
        ("4,2026-05-01,much,Ada,1", "a revenue is a decimal number, such as 0.05; got 'much'"),
        ("4,2026-06-01T00:00:00Z,1,Ada,1", "is not in the period from 2026-05-01 to the day before 2026-06-01"),
        ("4,2026-04-30T23:59:59Z,1,Ada,1", "is not in the period"),
        ("4,in May,1,Ada,1", "a time is ISO 8601"),
        ("4,2026-05-01,1,Ada,0.5", "the shares of a generation sum to 1; got 0.5"),
        ("4,2026-05-01,1,Ada,half", "a share is a number from 0 to 1; got 'half'"),
        ("4,2026-05-01,1,Ada,1.5", "a share is a number from 0 to 1; got '1.5'"),
        ("2,2026-05-03,2,Bob,1", "generation '2' stands twice"),
        ("1,2026-05-01T00:00:00Z,0.10,Ada,0.5", "names 'Ada' twice"),
    ],
)
def test_bad_rows_are_refused_by_name(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, HEAD + GOOD + row + "\n")
    assert message in str(refused.value)


def test_all_bad_rows_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 generations of .* cannot be paid for") as refused:
        read(tmp_path, HEAD + "4,2026-05-01,-1,Ada,1\n5,2026-07-01,1,Ada,1\n")
    assert "'4'" in str(refused.value)
    assert "'5'" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("id,time\n1,2026-05-01\n", "use.csv", "either `contributor` and `share`, or `image`; got id, time"),
        ("id,time,share\n1,2026-05-01,1\n", "use.csv", "no column `contributor`"),
        ("", "use.csv", "cannot be read as a table of generations"),
        ("no parquet", "use.parquet", "cannot be read as Parquet"),
        ("{}", "use.json", "read from a .csv or .parquet file"),
        ("id,time,contributor,share\n", "use.csv", "has no generations"),
        ("id,time,image\n1,2026-05-01,a.png\n", "use.csv", "attributed by an index, and letters has none here"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, name: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, text, name=name)
    assert message in str(refused.value)


def test_images_of_a_file_are_attributed_as_by_the_service_to_the_last_digit(tmp_path: Path) -> None:
    pictures = scenes(60)
    net = build_encoder("efficientnet-lite0", shape=(3, 48, 48), resolution=64)
    key = embedding_key(net, pictures)
    about = description(
        model="pictures", encoder="efficientnet-lite0", shape=(3, 48, 48), resolution=64, encoder_key=key,
        code=code_of("efficientnet-lite0"), far_rate=0.01,
    )  # fmt: skip
    store = ShardStore(index_folder(tmp_path, "pictures", "1"))
    store.folder.mkdir(parents=True)
    index.build(store, net.features(pictures), table_of(60), about, images=pictures)
    attributor = Attributor(served_folders(tmp_path), WeightsStore(tmp_path / "weights"))
    lines, asked = ["id,time,image"], []
    for number, pixels in enumerate(scenes(8, seed=3) // 2 + pictures[:8] // 2):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / f"{number}.png")
        lines.append(f"{number},2026-05-01,{number}.png")
        image = base64.b64encode((tmp_path / f"{number}.png").read_bytes()).decode()
        asked.append(
            AttributionRequest(id=str(number), model="pictures", time=datetime(2026, 5, 1, tzinfo=UTC), image=image)
        )
    (tmp_path / "use.csv").write_text("\n".join(lines))
    by = ByImage(attributor, "pictures", "1")
    used = of_file(tmp_path / "use.csv", date(2026, 5, 1), date(2026, 6, 1), ["Ada", "Bob", "Cyd"], by)
    log = UsageLog(tmp_path / "log.db")
    for request in reversed(asked):
        recorded(log, "studio", request, attributor)
    rows = of_log(log.between("2026-05-01", "2026-06-01", model="pictures", version="1"))[0]
    logged = {row.id.removeprefix("studio/"): row for row in rows}
    assert sum(bool(row.shares) for row in used) > 4
    for row in used:
        assert json.dumps(dict(row.shares)) == json.dumps(dict(logged[row.id].shares))
        assert json.dumps(row.items) == json.dumps(logged[row.id].items)
