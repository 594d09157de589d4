"""The shares of SAVA's work: what each reads, and that together they give what one process gives."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from royalty.infra.stores.artifacts import StoreError
from royalty.infra.stores.keys import modules_run_by
from royalty.infra.stores.runstore import StageRecord
from royalty.models.base.choices import SavaForm
from royalty.models.base.errors import InputError
from royalty.models.data.items import item_id
from royalty.models.data.labelled import Items
from royalty.models.encoders.representation import represent
from royalty.models.valuation.batches import Plan, open_share
from royalty.models.valuation.sava import sava_values
from royalty.tasks.config.values import ValueSettings
from royalty.tasks.items import planning_worker, shares_worker
from royalty.tasks.items.embedding_stages import EmbedInputs
from royalty.tasks.items.embedding_worker import embed
from royalty.tasks.items.embeddings import features_of
from royalty.tasks.items.stages import (
    PLAN_SHARES,
    AgreeInputs,
    Kept,
    PlanInputs,
    PlanOutputs,
    ShareValueInputs,
    Sides,
    SolveInputs,
    ValueInputs,
    ValueOutputs,
)
from royalty.tasks.items.stored_items import keep_items, load_items, load_values
from royalty.tasks.items.valuing import solve_share, value_share
from royalty.tasks.stages.context import StageContext, open_stores, stage_context
from royalty.tasks.stages.stage import as_json

CONFIG = {"method": "sava", "encoding": {"encoder": "pixels", "size": 8}, "valuing": {"batch_size": 3}}
SETTINGS = ValueSettings.model_validate(CONFIG)


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return stage_context(open_stores(tmp_path / "home", "", tmp_path / "weights", 1), "key", lambda _: None)


def digits(count: int, seed: int, first: int = 0) -> Items:
    """Noisy images of three labels; the first ones are of the labels from `first`."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) + first) % 3
    images = (labels[:, None, None, None] * 60 + rng.integers(0, 60, (count, 1, 8, 8))).astype(np.uint8)
    ids = tuple(item_id(image) for image in images)
    return Items(ids, images, None, np.array(["cat", "dog", "owl"])[labels], None)


def kept_sides(context: StageContext, train: Items, val: Items) -> Sides:
    """Both sides, embedded."""
    digests = [keep_items(context.artifacts, items).items for items in (train, val)]
    encoder = [embed(EmbedInputs(digest, "pixels", ""), context).encoder for digest in digests][-1]
    return Sides(*digests, encoder)


@pytest.mark.parametrize("share", [(solve_share, ("part", "ground")), (value_share, ("part", 0, "ground", "agreed"))])
def test_a_worker_with_stores_of_its_own_is_refused(share: tuple[Any, tuple[Any, ...]]) -> None:
    task, arguments = share
    with pytest.raises(StoreError, match=r"must use the stores of its flow, /elsewhere with sqlite:///x"):
        task.fn(*arguments, "/elsewhere with sqlite:///x")


def valued(context: StageContext, sides: Sides, planned: PlanOutputs, config: Mapping[str, Any]) -> ValueOutputs:
    """What the tasks do after the plan, one share after the other."""
    solved = [shares_worker.solve(SolveInputs(planned.ground, part), context).share for part in planned.parts]
    agreement = shares_worker.agree_on(AgreeInputs(planned.plan, solved), context).agreement
    firsts = np.cumsum([0, *planned.batches])
    shares = [
        shares_worker.value(ShareValueInputs(planned.ground, agreement, part, int(first)), context).values
        for part, first in zip(planned.parts, firsts, strict=False)
    ]
    if config["valuing"].get("form") == "paper":
        shares = solved
    return shares_worker.join_shares(
        ValueInputs(config, sides, plan=planned.plan, agreement=agreement, shares=shares, kept=planned.kept), context
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["joint", "paper"])
def test_shares_give_to_the_last_digit_what_one_process_gives(
    context: StageContext, one_thread: None, form: SavaForm
) -> None:
    config = {**CONFIG, "valuing": {"batch_size": 3, "form": form}}
    sides = kept_sides(context, digits(150, 0), digits(60, 1))
    train, val = (load_items(context.artifacts, digest) for digest in (sides.train, sides.val))
    features = [features_of(context.embeddings, items, sides.encoder) for items in (train, val)]
    assert train.labels is not None
    assert val.labels is not None
    labels, val_labels = (np.unique(items.labels, return_inverse=True)[1] for items in (train, val))
    both = represent(*features, val_labels, SETTINGS.encoding.representation)
    planned = planning_worker.plan(PlanInputs(config, sides), context)
    assert planned.batches == [16, 16, 16, 2]
    shutil.rmtree(context.embeddings.folder)  # shares embed and represent nothing again
    outputs = valued(context, sides, planned, config)
    options = {**vars(SETTINGS.valuing.options), "batch_size": 3, "seed": SETTINGS.seed, "form": form}
    assert options.pop("solver") == "royalty"  # the one that SAVA has
    expected = sava_values(both[0], labels, both[1], val_labels, **options)
    np.testing.assert_array_equal(load_values(context.artifacts, outputs.table)["value"], expected.values)
    of_batches = load_values(context.artifacts, outputs.batch_table)
    np.testing.assert_array_equal(of_batches["value"], expected.batch_values)
    assert of_batches["items"].tolist() == [3] * 50
    assert outputs.diagnostics == {**expected.diagnostics, "batches_kept": 0}


def extended(context: StageContext, planned: PlanOutputs, before: Sides, train: Items, config: object) -> PlanOutputs:
    digest = keep_items(context.artifacts, train).items
    embed(EmbedInputs(digest, "pixels", ""), context)
    kept = Kept(planned.plan, before.train, planned.shares, planned.parts)
    return planning_worker.plan(PlanInputs({**CONFIG, **dict(config)}, replace(before, train=digest), kept), context)


def joined(first: Items, second: Items) -> Items:
    assert first.images is not None
    assert second.images is not None
    assert first.labels is not None
    assert second.labels is not None
    images, labels = np.concatenate([first.images, second.images]), np.concatenate([first.labels, second.labels])
    return Items((*first.ids, *second.ids), images, None, labels, None)


def test_shares_that_stay_keep_their_items_as_they_were(context: StageContext) -> None:
    """Also beside a new label that validation lacks, which sorts before the others."""
    train, worst = digits(96, 0), {"unseen_label": "worst"}
    sides = kept_sides(context, train, digits(60, 1))
    planned = planning_worker.plan(PlanInputs({**CONFIG, **worst}, sides), context)
    more = digits(6, 2)
    unknown = replace(digits(2, 3), labels=np.array(["ant", "ant"]))
    later = extended(context, planned, sides, joined(joined(train, more), unknown), worst)
    assert later.parts[:2] == planned.parts
    assert (later.kept, later.batches) == (32, [16, 16, 2])
    assert later.ground == planned.ground
    known = Plan.from_bytes(context.artifacts.get(later.plan)).ground.labels
    assert known is not None
    assert known.tolist() == [0, 1, 2]
    added = np.concatenate([batch[1] for batch in open_share(context.artifacts.verified(later.parts[2]))])
    assert sorted(added.tolist()) == [0, 0, 1, 1, 2, 2]


def test_a_new_label_that_validation_lacks_is_refused(context: StageContext) -> None:
    train = digits(96, 0)
    sides = kept_sides(context, train, digits(60, 1))
    planned = planning_worker.plan(PlanInputs(CONFIG, sides), context)
    unknown = replace(digits(2, 3), labels=np.array(["rat", "rat"]))
    with pytest.raises(InputError, match="none has"):
        extended(context, planned, sides, joined(train, unknown), {})


def test_a_plan_of_an_earlier_version_is_read_and_extended(context: StageContext) -> None:
    """Its rows named no parts, and nothing kept was an empty object."""
    train = digits(96, 0)
    sides = kept_sides(context, train, digits(60, 1))
    planned = planning_worker.plan(PlanInputs(CONFIG, sides), context)
    new = {"parts", "batches"}
    row = StageRecord(
        PLAN_SHARES.name,
        "key",
        {"config": CONFIG, "sides": vars(sides), "kept": {}},
        {name: value for name, value in as_json(planned).items() if name not in new},
        1.0,
        reused=True,
    )
    earlier = PLAN_SHARES.finished(row)
    assert earlier.inputs == PlanInputs(CONFIG, sides)
    later = extended(context, earlier.outputs, sides, joined(train, digits(6, 2)), {})
    assert (later.kept, later.batches) == (32, [16, 16, 2])
    assert later.shares[:2] == planned.shares


def test_transports_are_no_part_of_the_key_of_an_encoder() -> None:
    """One that was trained stays when the code of SAVA changes, and what transports shares trains no encoder."""
    items = "royalty.tasks.items"
    for worker in ("encoder_worker", "embedding_worker", "gmvaluator_worker"):
        assert "royalty.models.valuation.transport" not in modules_run_by(f"{items}.{worker}")
    transporting = modules_run_by(f"{items}.shares_worker") - {"royalty.models.encoders.registry"}  # only lists names
    assert not {name for name in transporting if name.startswith("royalty.models.encoders.")}
