"""The sentences of a report: notes on the data and the measurements, diagnostics, remarks on the payout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from royalty.models.generators.training import Method
from royalty.models.properties.registry import Chosen
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.stages import IngestOutputs
from royalty.tasks.pay.remarks import adjustments
from royalty.tasks.pay.stages import PayOutputs

NAMED = 10
"""Pairs of contributors, or licences, that a note names."""
FAILURES = 3
"""Coalitions whose training failed that a note names."""

DIAGNOSTICS = {
    "efficiency_gap": "Sum of credit less what there is to divide",
    "condition_number": "Condition number of the regression",
    "pairs": "Pairs of complementary coalitions",
    "unpaired": "Coalitions whose complement was not measured",
    "variance_coalitions": "Variance from the draw of coalitions",
    "variance_training": "Variance from training seeds",
    "variance_sampling": "Variance from sampling images",
    "estimator": "Estimator",
    "why": "Reason for this estimator",
}

COALITION_MODELS: dict[Method, str] = {
    "sparsified": "a smaller copy of the full model, pruned and recovered on everybody's images, then finetuned on the "
    "coalition's images alone: far cheaper than training one from nothing, and an approximation of it",
    "finetune": "the full model, finetuned on the coalition's images alone: cheaper than training one from nothing, "
    "and an approximation of it",
    "retrain": "trained from nothing on the coalition's images alone",
    "gradient-ascent": "a smaller copy of the full model, pruned and recovered on everybody's images, in which the "
    "images of everybody else were unlearned by steps that raise their loss: an approximation",
    "influence": "a smaller copy of the full model, pruned and recovered on everybody's images, in which the images of "
    "everybody else were unlearned by one step along their influence: an approximation",
}


def data_notes(data: IngestOutputs) -> Iterator[str]:
    """What was read, and what contributors have in common."""
    yield f"{data.total_items} distinct training images of {len(data.contributors)} contributors."
    if data.shared_items:
        yield (
            f"{data.shared_items} images were provided by more than one contributor. Such an image is trained on "
            "once and belongs to every coalition that holds one of its contributors, so that they share its credit."
        )
        yield f"In common: {_shortened(_pairs(data.copies), NAMED)}."
    if data.near_copies:
        yield (
            "Nearly in common, as a file that was compressed again is: "
            f"{_shortened(_pairs(data.near_copies), NAMED)}. Unlike exact copies these are items of their own, and "
            "each contributor's credit is for having it beside the other."
        )
    if data.repeated_items:
        yield f"{data.repeated_items} further images are copies that a contributor brought more than once."
    if any(data.licenses):
        counts = [f"{name or 'none that is known'} ({count})" for name, count in data.licenses.items()]
        yield f"Licenses of the images that were read: {_shortened(counts, NAMED)}."


def resolution(config: CreditConfig, measured: Chosen, stderr: float) -> str:
    """How precisely each model is measured."""
    return (
        f"Each model is measured on {config.sampling.images} generated images; another {config.sampling.images} of the "
        f"pruned model would change its {measured.title} by a standard error of {stderr:.2g}."
    )


def interval_sources(config: CreditConfig) -> str:
    """What differs between the measurements that the intervals come from."""
    sources = ["which coalitions happened to be measured"]
    if config.coalitions.seeds > 1:
        sources.append("the seeds that models were trained from")
    if config.sampling.draws > 1:
        sources.append("the images that were drawn from them")
    once = config.coalitions.seeds == 1
    return ", ".join(sources) + (", each trained once" if once else "")


def failure_notes(failed: Sequence[Sequence[str]]) -> Iterator[str]:
    """Which coalitions are not counted."""
    if failed:
        shown = "; ".join(", ".join(members) for members in failed[:FAILURES])
        yield (
            f"The training of {len(failed)} coalition(s) diverged twice. They are not counted, which widens the "
            f"intervals: {shown}{' and others' if len(failed) > FAILURES else ''}."
        )


def diagnostic_rows(diagnostics: Mapping[str, float | str]) -> Iterator[tuple[str, str]]:
    """Name and value of each diagnostic of the estimate."""
    for key, value in diagnostics.items():
        if isinstance(value, str):
            yield DIAGNOSTICS[key], value
        elif key.startswith("variance_"):
            yield DIAGNOSTICS[key], f"{value:.0%}"
        elif key != "unpaired" or value:
            yield DIAGNOSTICS[key], f"{value:.3g}"


def payout_remarks(paid: PayOutputs, payout: PayoutConfig) -> Iterator[tuple[str, str]]:
    """By contributor: why another amount is paid than the policy alone gives, and where the rest is."""
    yield from adjustments(paid, payout).items()
    if paid.reserve:
        yield "Reserve", f"{payout.formatted(paid.reserve)} of the pool, left over by the cap or taken for debts"


def _pairs(shared: Sequence[tuple[str, str, int]]) -> list[str]:
    return [f"{first} and {second} ({count})" for first, second, count in shared]


def _shortened(parts: Sequence[str], most: int) -> str:
    rest = len(parts) - most
    return ", ".join(parts[:most]) + (f" and {rest} more" if rest > 0 else "")
