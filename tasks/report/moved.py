"""What moved between two statements of a pool: images, models and credit, in the language of a page."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.language import Language
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import Workspace
from royalty.models.data.stored import open_set
from royalty.models.valuation.intervals import told_apart
from royalty.tasks.credit.estimate import CREDIT, load_table
from royalty.tasks.credit.listed import JOINED, files_of
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.report.rows import readable
from royalty.tasks.report.stages import TRACK, RunStages

Interval = tuple[float, float, float]
"""Credit, and the low and the high end of its interval."""


@dataclass(frozen=True)
class State:
    """What a credit table rests on.

    Attributes:
        images: by contributor and id, the name of its file; those held out too, where the source lists its images.
        models: digests of the base model and of the pruned one.
        measure: digests of the images that models are measured with.
        credit: by contributor.
    """

    images: Mapping[str, Mapping[str, str]]
    models: tuple[str, str]
    measure: tuple[str, str]
    credit: Mapping[str, Interval]

    @cached_property
    def ids(self) -> set[str]:
        return {identity for own in self.images.values() for identity in own}


@dataclass(frozen=True)
class Step:
    """A statement, and the one before it of the same pool.

    Attributes:
        first: there is none before it.
        before, now: None if it was paid by another table than the credit of a run in this store.
    """

    first: bool
    before: State | None
    now: State | None

    @cached_property
    def added(self) -> set[str]:
        return self.now.ids - self.before.ids if self.now and self.before else set()

    @cached_property
    def removed(self) -> set[str]:
        return self.before.ids - self.now.ids if self.now and self.before else set()

    @cached_property
    def adding(self) -> set[str]:
        """Contributors of images that are new in the set."""
        return _owners(self.now, self.added)

    @cached_property
    def removing(self) -> set[str]:
        """Contributors of images that left the set."""
        return _owners(self.before, self.removed)

    def reasons(self, name: str, language: Language, *, named: bool = True) -> Iterator[str]:
        """What moved for a contributor, and why there is no entry if the statement does not name it."""
        t = language.text
        if self.now is None or not (self.first or self.before):
            yield t("moved_unknown")
            return
        own = self.now.images.get(name, {})
        if not own and name not in self.now.credit:
            yield t("moved_gone" if self.before and self.before.images.get(name) else "moved_none_yet")
            return
        if not named:
            yield t("moved_no_entry")
        if self.before is None:
            others = len(self.now.ids) - len(own)
            yield t("moved_first", own=_number(len(own), language), others=_number(others, language))
        yield from self.causes(name, language)
        if name in self.now.credit:
            before = self.before.credit.get(name) if self.before else None
            yield credit_moved(before, self.now.credit[name], language)

    def causes(self, name: str, language: Language) -> Iterator[str]:
        """Whose images changed, and whether models start anew; nothing if one of the two states is not known."""
        if self.before is None or self.now is None:
            return
        t, then, own = language.text, self.before.images.get(name, {}), self.now.images.get(name, {})
        new, gone = own.keys() - then.keys(), then.keys() - own.keys()
        changed = _files(own, new) & _files(then, gone)
        if new or gone:
            added, removed = (_number(len(each) - len(changed), language) for each in (new, gone))
            yield t("moved_own", added=added, removed=removed, changed=_number(len(changed), language))
        else:
            yield t("moved_own_same", count=_number(len(own), language))
        others = {  # by intersection, which takes the time of a contributor's images and not of all
            "added": len(self.added) - len(self.added.intersection(own)),
            "adding": len(self.adding) - (name in self.adding),
            "removed": len(self.removed) - len(self.removed.intersection(then)),
            "removing": len(self.removing) - (name in self.removing),
        }
        if others["added"] or others["removed"]:
            yield t("moved_others", **{part: _number(count, language) for part, count in others.items()})
        else:
            yield t("moved_others_same")
        if self.before.measure != self.now.measure:
            yield t("moved_measure")
        yield t("moved_models_same" if self.before.models == self.now.models else "moved_models")


def steps_of(space: Workspace, pool: str, statements: Sequence[Posted]) -> dict[str, Step]:
    """The step to each division and correction of a pool, by the statement's id.

    A statement is compared with the last one of its period, and the first of a period with the last one of the pool.
    """
    posted = [each for each in statements if each.pool == pool and each.kind in ("division", "correction")]
    states = _states(space, {each.valuation for each in posted})
    steps: dict[str, Step] = {}
    last: dict[str, str] = {}
    for each in posted:
        before = last.get(each.period) or (list(last.values())[-1] if last else None)
        steps[each.id] = Step(before is None, states.get(before) if before else None, states.get(each.valuation))
        last.pop(each.period, None)  # so that the latest stands last
        last[each.period] = each.valuation
    return steps


def credit_moved(before: Interval | None, now: Interval, language: Language) -> str:
    """The credit with its interval, the one before it, and whether the intervals tell the two apart."""
    t = language.text
    if before is None:
        return t("moved_credit_first", now=_interval(now, language))
    if before == now:
        return t("moved_credit_same", now=_interval(now, language))
    name = "moved_credit" if told_apart(before[1:], now[1:]) else "moved_credit_open"
    return t(name, before=_interval(before, language), now=_interval(now, language))


def brought(space: Workspace, data: Ingested) -> dict[str, dict[str, str]]:
    """Names of files by contributor and item id; of embedded images, those trained on, without names."""
    if data.outputs.listed:
        return files_of(space.artifacts, data.outputs.listed)
    file = space.artifacts.path(data.outputs.train)  # for its names only, which need no second look at all pixels
    train = open_set(file if file.is_file() else space.artifacts.verified(data.outputs.train))
    owned = zip(train.contributors, train.membership.T, strict=True)
    return {name: {train.ids[place]: "" for place in members.nonzero()[0]} for name, members in owned}


def state_of(space: Workspace, stages: RunStages) -> State:
    """What the credit of a run rests on.

    Raises:
        StoreError: its images or its credit table are not in this store.
    """
    data, table = stages.ingest, load_table(space, stages.credit.outputs.table)
    rows = zip(table["contributor"], table["credit"], table["ci_low"], table["ci_high"], strict=True)
    return State(
        images=brought(space, data),
        models=(stages.train.outputs.model, stages.prune.outputs.model),
        measure=(data.outputs.validation, data.outputs.classifier),
        credit={name: (float(credit), float(low), float(high)) for name, credit, low, high in rows},
    )


def _states(space: Workspace, tables: Collection[str]) -> dict[str, State]:
    """The state behind each credit table that a logged run has."""
    credits = (readable(CREDIT, row) for row in space.runs.stages(CREDIT.name))
    keys = {each.key: each.outputs.table for each in credits if each and each.outputs.table in tables}
    tracks = (readable(TRACK, row) for row in space.runs.stages(TRACK.name))
    logged = {keys[key]: track for track in tracks if track for key in track.inputs.stages if key in keys}
    states = {}
    for table, track in logged.items():
        try:
            states[table] = state_of(space, RunStages.kept(space, track.inputs.stages))
        except StoreError:  # a part of it was deleted, or an earlier version recorded it
            continue
    return states


def _owners(state: State | None, ids: Collection[str]) -> set[str]:
    return {name for name, own in state.images.items() if not own.keys().isdisjoint(ids)} if state else set()


def _files(images: Mapping[str, str], ids: Collection[str]) -> set[str]:
    return {name for identity in ids for name in images[identity].split(JOINED) if name}


def _number(count: int, language: Language) -> str:
    return language.localized(f"{count:,}")


def _interval(credit: Interval, language: Language) -> str:
    value, low, high = (language.localized(f"{number:+.4f}") for number in credit)
    return language.text("moved_interval", credit=value, low=low, high=high)
