"""Value items, in one process or in shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.infra.settings import settings
from royalty.infra.workspace import check_place, open_workspace
from royalty.models.base.choices import SolverName
from royalty.models.base.errors import InputError
from royalty.models.base.optional import check_installed
from royalty.tasks.config.values import ValueConfig, ValueSettings
from royalty.tasks.items.stages import (
    AGREE_SHARES,
    PLAN_SHARES,
    SOLVE_SHARE,
    VALUE,
    VALUE_SHARE,
    Agreed,
    AgreeInputs,
    Kept,
    PlanInputs,
    Planned,
    ShareValued,
    ShareValueInputs,
    Sides,
    Solved,
    SolveInputs,
    Valued,
    ValueInputs,
)
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.items import planning_worker, shares_worker, valuing_worker
else:
    planning_worker = Deferred("royalty.tasks.items.planning_worker")
    shares_worker = Deferred("royalty.tasks.items.shares_worker")
    valuing_worker = Deferred("royalty.tasks.items.valuing_worker")


@task(name="value items", cache_policy=NO_CACHE)
def value_all(config: ValueConfig, sides: Sides) -> Valued:
    """Value all items in one process."""
    inputs = ValueInputs(_settled(config), sides)
    return run_in_worker(VALUE, inputs, valuing_worker.value, title="Value items", total=1)


@task(name="plan shares of the work", cache_policy=NO_CACHE)
def plan_shares(config: ValueConfig, sides: Sides, incremental: bool) -> Planned:
    """Plan a valuation by SAVA in shares.

    Args:
        incremental: extend the plan of the earlier valuation of this name.
    """
    kept = _kept(config, sides) if incremental else Kept()
    inputs = PlanInputs(_settled(config), sides, kept)
    planned = run_in_worker(PLAN_SHARES, inputs, planning_worker.plan, title="Compare labels", total=1)
    # A later valuation of this name can extend the plan. Transports of batches are stages, stored by their own keys.
    open_workspace(settings()).runs.record_anchor(_anchor(config), {planned.name: planned.key})
    return planned


@task(name="solve transport of a share", cache_policy=NO_CACHE, retries=1)
def solve_share(part: str, ground: str, place: str) -> Solved:
    """Solve the optimal transports of one share.

    Args:
        part, ground: digests of the share's batches and of what all shares have in common.
        place: location of the stores as the flow sees it; the task may run on another machine.
    """
    check_place(settings(), place)
    inputs = SolveInputs(ground, part)
    return run_in_worker(SOLVE_SHARE, inputs, shares_worker.solve)


@task(name="agree on the plan of all shares", cache_policy=NO_CACHE)
def agree_shares(planned: Planned, solved: Sequence[Solved]) -> Agreed:
    """Solve the transport between batches from the results of all shares."""
    inputs = AgreeInputs(planned.outputs.plan, [share.outputs.share for share in solved])
    return run_in_worker(AGREE_SHARES, inputs, shares_worker.agree_on, title="Agree", total=1)


@task(name="value items of a share", cache_policy=NO_CACHE, retries=1)
def value_share(part: str, first: int, ground: str, agreement: str, place: str) -> ShareValued:
    """Value the items of one share.

    Args:
        first: number of batches in the shares before this one.
        agreement: digest of the transport between batches.
        part, ground, place: see `solve_share`.
    """
    check_place(settings(), place)
    inputs = ShareValueInputs(ground, agreement, part, first)
    return run_in_worker(VALUE_SHARE, inputs, shares_worker.value)


@task(name="join values of all shares", cache_policy=NO_CACHE)
def join_shares(config: ValueConfig, sides: Sides, planned: Planned, agreed: Agreed, shares: Sequence[str]) -> Valued:
    """Join the values of all shares, or their transports in the paper's form; `shares` are their digests."""
    inputs = ValueInputs(
        _settled(config),
        sides,
        plan=planned.outputs.plan,
        agreement=agreed.outputs.agreement,
        shares=list(shares),
        kept=planned.outputs.kept,
    )
    return run_in_worker(VALUE, inputs, shares_worker.join_shares, title="Join shares", total=1)


def check_incremental(config: ValueConfig, incremental: bool) -> None:
    """Check, before any work, that there is an earlier valuation by SAVA to extend."""
    if not incremental:
        return
    if config.method != "sava":
        raise InputError(
            f"`--incremental` reuses the transports of SAVA's batches, and {config.method} has no batches; leave it "
            "out, or use `sava`"
        )
    space = open_workspace(settings())
    if space.runs.anchor(_anchor(config)) is None:
        raise InputError(
            f"`--incremental` extends an earlier valuation; there is none by SAVA named {config.name!r} in "
            f"{space.root}. Value once without it, or give the name of one (`--name`)"
        )


def check_solver(config: ValueConfig) -> None:
    """Check, before any work, that the solver is installed, and is one of the method."""
    if config.valuing.solver != "royalty" and config.method != "lava":
        raise InputError(
            f"`valuing.solver: {config.valuing.solver}` solves the transport of LAVA; {config.method} has none. Leave "
            "it out, or use `lava`"
        )
    check_solver_installed(config.valuing.solver, "valuing.solver")


def check_solver_installed(solver: SolverName, setting: str) -> None:
    """Check, before any work, that the package of a setting's solver is installed."""
    if solver == "geomloss":
        check_installed("geomloss", "geomloss", f"`{setting}: geomloss`")


def check_perturbed(config: ValueConfig) -> None:
    """Check, before any work, that the method has a distance whose changes can be predicted."""
    if config.valuing.perturbed and config.method != "lava":
        raise InputError(
            f"`valuing.perturbed: {config.valuing.perturbed}` predicts changes of the distance by LAVA's values; "
            f"{config.method} has no such values. Leave it out, or use `lava`"
        )


def _anchor(config: ValueConfig) -> str:
    return f"values:{config.name}"


def _kept(config: ValueConfig, sides: Sides) -> Kept:
    """Load the plan to extend.

    Raises:
        InputError: the plan is missing, or more than the training items changed.
    """
    space = open_workspace(settings())
    anchor = space.runs.anchor(_anchor(config))
    earlier = None if anchor is None else PLAN_SHARES.kept(space, anchor.stages[PLAN_SHARES.name])
    if earlier is None:
        raise InputError(f"the plan of the earlier valuation {config.name!r} is missing; value without `--incremental`")
    # Settings that an earlier version did not know have their defaults.
    now, then = config.settings, ValueSettings.model_validate(earlier.inputs.config)
    changed = [name for name in ValueSettings.model_fields if getattr(now, name) != getattr(then, name)]
    changed += [
        f"`{side}`" for side in ("val", "encoder") if getattr(sides, side) != getattr(earlier.inputs.sides, side)
    ]
    if changed:
        raise InputError(
            f"only training items may change between incremental valuations; in {config.name!r}, {', '.join(changed)} "
            "changed too. Value without `--incremental`, or under another name"
        )
    plan = earlier.outputs
    return Kept(plan.plan, earlier.inputs.sides.train, plan.shares, plan.parts)


def _settled(config: ValueConfig) -> Mapping[str, Any]:
    return config.settings.model_dump(mode="json")
