"""Images that workers of a cluster embed have the embeddings that one process gives, and none is embedded twice."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.tasks.items import embedding, embedding_worker
from royalty.tasks.items.embedding import keep_shares, shares_of
from royalty.tasks.items.embedding_stages import EMBED_SHARE, EmbedInputs
from royalty.tasks.items.embeddings import features_of
from royalty.tasks.items.stored_items import keep_items
from royalty.tasks.stages.context import StageContext, open_stores, stage_context
from royalty.tasks.stages.stage import Finished
from tests.conftest import Run, save_digits
from tests.flows.test_shares import digits


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageContext:
    monkeypatch.setenv("ROYALTY_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    return stage_context(open_stores(*settings().stores), "key", lambda _: None)


def test_shares_give_the_embeddings_of_one_process(context: StageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "EMBEDDED_IN_A_SHARE", 7)
    before, items = digits(10, seed=2), digits(50, seed=2)  # an earlier run embedded the first ten
    whole = EmbedInputs(keep_items(context.artifacts, items).items, "pixels", "")
    embedding_worker.embed(EmbedInputs(keep_items(context.artifacts, before).items, "pixels", ""), context)
    missing = embedding_worker.find_missing(whole, context)
    known = len(set(before.ids) & set(items.ids))
    assert missing.count == 50 - known
    shares = shares_of(whole, missing)
    assert [share.last - share.first for share in shares] == [7] * (missing.count // 7) + [missing.count % 7]
    done = [
        Finished("embed-share", "", share, embedding_worker.embed_share(share, context), 0.0, reused=False)
        for share in shares
    ]
    keep_shares.fn(missing, done)
    again = embedding_worker.embed(whole, context)
    assert (again.encoder, again.embedded) == (missing.encoder, 0)
    of_shares = features_of(open_workspace(settings()).embeddings, items, missing.encoder)
    shutil.rmtree(context.embeddings.folder)
    embedding_worker.embed(whole, context)
    np.testing.assert_array_equal(of_shares, features_of(context.embeddings, items, missing.encoder))


@pytest.mark.cluster
def test_values_by_a_cluster_are_those_of_one_process(installed: Run, tmp_path: Path) -> None:
    pytest.importorskip("prefect_dask")
    save_digits(tmp_path / "train", ["ann", "bob"] * 12)
    save_digits(tmp_path / "val", [""] * 20)
    command = ("value", "knn-shapley", "--train", "train", "--val", "val", "--json")
    tables = {}
    for runner in ("threads", "dask"):
        home = tmp_path / f"home-{runner}"
        done = installed(*command, "--out", f"{runner}.parquet", ROYALTY_HOME=str(home), ROYALTY_RUNNER=runner)
        assert done.returncode == 0, done.stderr
        tables[runner] = pd.read_parquet(tmp_path / f"{runner}.parquet")
        with sqlite3.connect(home / "royalty.db") as rows:
            shares = rows.execute(f"SELECT inputs FROM stages WHERE name = '{EMBED_SHARE.name}'").fetchall()
        # Validation's images are among those of training, and have their embeddings then.
        assert [json.loads(text)["last"] for (text,) in shares] == ([24] if runner == "dask" else [])
    pd.testing.assert_frame_equal(tables["dask"], tables["threads"], check_exact=True)
