"""Edges: what is one, that they are recorded with their row, and that walks reach all and only what they should."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from royalty.infra.stores import tables
from royalty.infra.stores.database import open_database
from royalty.infra.stores.lineage import Edge, Lineage, closure, digests_in, stage_edges
from royalty.infra.stores.runstore import RunStore, StageRecord

A, B, C, D = (letter * 64 for letter in "abcd")


def test_digests_are_found_wherever_they_are_nested() -> None:
    value = {"models": {"base": A}, "measurements": [B, (C,)], "seed": 0, "name": "a" * 63, "upper": "A" * 64}
    assert list(digests_in(value)) == [("models.base", A), ("measurements", B), ("measurements", C)]


def test_a_stage_is_between_what_it_used_and_what_it_made() -> None:
    inputs, outputs = {"train": A, "files": "e" * 64}, {"model": B, "same": A, "note": "x"}
    edges = stage_edges(D, inputs, outputs, {A, B}.intersection)
    assert edges == [Edge(D, A, "train", D), Edge(B, D, "model", D)], "no edge to what is not kept, none from an input"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30), st.integers(0, 9))
def test_closure_is_reachability(pairs: list[tuple[int, int]], start: int) -> None:
    edges = [Edge(str(child), str(parent), "", "") for child, parent in pairs]

    def step(nodes: object) -> list[Edge]:
        return [edge for edge in edges if edge.child in nodes]  # type: ignore[operator]

    reached, before = {str(start)}, set[str]()
    while reached != before:
        before = set(reached)
        reached |= {edge.parent for edge in edges if edge.child in reached}
    assert set(closure([str(start)], step, up=True)) == reached - {str(start)}


def test_edges_are_recorded_once_and_only_with_their_row(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'royalty.db'}")
    runs, lineage = RunStore(engine), Lineage(engine)
    record = StageRecord("train", D, {"train": A}, {"model": B, "sizes": {1: 2, 10: 3, 9: 4}}, 1.5)
    edges = [Edge(D, A, "train", D), Edge(B, D, "model", D)]
    runs.record_stage(record, edges, "flow")
    runs.record_stage(record.with_outputs(model=C), [Edge(C, D, "model", D)], "another")
    assert set(lineage.upstream([B])) == {D, A}
    assert set(lineage.downstream([A])) == {D, B}
    assert lineage.children([D]) == [edges[1]]
    (origin,) = lineage.origins([D, A]).values()
    assert (origin.flow_run, origin.run) == ("flow", D)
    assert runs.contents([D]) == {D: origin.content}, "what the database gives back is what was written"
    with Session(engine) as session, session.begin():
        session.execute(text("DROP TRIGGER stages_no_update"))  # as whoever owns the database can
        session.get_one(tables.StageRow, D).outputs = {"model": C}
    assert runs.contents([D]) != {D: origin.content}


def test_nothing_is_half_written(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'royalty.db'}")
    twice = [Edge(D, A, "train", D), Edge(D, A, "train", D)]
    with pytest.raises(Exception, match="UNIQUE"):
        RunStore(engine).record_stage(StageRecord("train", D, {}, {}, 1.0), twice)
    with Session(engine) as session:
        kinds = (tables.StageRow, tables.EdgeRow, tables.OriginRow)
        assert [session.scalar(select(func.count()).select_from(kind)) for kind in kinds] == [0, 0, 0]
