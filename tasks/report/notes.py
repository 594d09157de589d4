"""The sentences of a report: notes on the data and the measurements, diagnostics, remarks on the payout."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd

from royalty.infra.stores.artifacts import ArtifactStore
from royalty.infra.wording import counted
from royalty.models.data.names import lookalikes, shortened
from royalty.models.data.openmoji import ATTRIBUTION
from royalty.models.data.permission import refusal_notes
from royalty.models.data.spdx import unrecognized
from royalty.models.generators.training import Method
from royalty.models.payout.equal import parts_of
from royalty.models.payout.gates import relative_stderr
from royalty.models.payout.policies import reliability
from royalty.models.properties.registry import Chosen
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.config.sources import EmbeddedSource, FileSource, FontsSource, OpenmojiSource
from royalty.tasks.credit.estimate import Credited
from royalty.tasks.credit.stages import IngestOutputs
from royalty.tasks.pay.credits import credits_of
from royalty.tasks.pay.identities import FAITHFUL
from royalty.tasks.pay.remarks import adjustments, kept_credit, tier_sentence
from royalty.tasks.pay.stages import DividedPool, PayOutputs

FAILURES = 3
"""Most failed coalitions that a note lists."""

DIAGNOSTICS = {
    "efficiency_gap": "Sum of credit minus the total to divide",
    "condition_number": "Condition number of the regression",
    "pairs": "Pairs of complementary coalitions",
    "unpaired": "Coalitions whose complement was not measured",
    "variance_coalitions": "Variance due to the drawn coalitions",
    "variance_training": "Variance due to training seeds",
    "variance_sampling": "Variance due to sampled images",
    "estimator": "Estimator",
    "why": "Reason for this estimator",
    "groups": "Groups of contributors",
    "pipelines": "Pipelines",
    "deviation_pipelines": "Standard deviation of a credit between pipelines",
    "noise_pipeline": "Noise of a credit within one pipeline",
}

COALITION_MODELS: dict[Method, str] = {
    "sparsified": "a smaller copy of the full model, pruned and recovered on everybody's images, then finetuned on the "
    "coalition's images only. This approximates training from scratch at a much lower cost",
    "finetune": "the full model, finetuned on the coalition's images only. This approximates training from scratch at "
    "a lower cost",
    "retrain": "trained from scratch on the coalition's images only",
    "pooled": "a mixture of models of its members: each image is by one of them, and their shares are those of their "
    "training images. The model of each member is a smaller copy of the full model, pruned and recovered on "
    "everybody's images, then finetuned on the member's images only. This approximates training from scratch with one "
    "training for each contributor",
    "amortized": "one model for all coalitions, which is told the coalition: a smaller copy of the full model, pruned "
    "and recovered on everybody's images, then finetuned on images of random coalitions, each told its coalition. This "
    "approximates training from scratch with a single training",
    "gradient-ascent": "a smaller copy of the full model, pruned and recovered on everybody's images, which then "
    "unlearns the images of all other contributors by training steps that increase their loss. This approximates "
    "training from scratch",
    "influence": "a smaller copy of the full model, pruned and recovered on everybody's images, which then unlearns "
    "the images of all other contributors by one step along their influence. This approximates training from scratch",
    "mirrored": "a smaller copy of the full model, pruned and recovered on everybody's images, finetuned on the "
    "coalition's images and away from what it predicts for images of all others. This approximates training from "
    "scratch",
}


def data_notes(data: IngestOutputs) -> Iterator[str]:
    """Describe the images, and those that contributors have in common."""
    yield f"{data.total_items} distinct training images from {len(data.contributors)} contributors."
    if data.public:
        yield (
            f"The images of {shortened(data.public)} ({sum(data.items[name] for name in data.public)}) are "
            "public: every model is trained on them, nobody's too, and they are not paid for. Credit is for what "
            "others add to them."
        )
    if data.shared_items:
        yield (
            f"{data.shared_items} images were provided by more than one contributor. Such an image is used once in "
            "training and belongs to every coalition with at least one of its contributors, so they share its credit."
        )
        yield f"Images in common: {shortened(_pairs(data.copies))}."
    if data.near_copies:
        yield (
            "Nearly identical images, such as recompressed files: "
            f"{shortened(_pairs(data.near_copies))}. Unlike exact copies, they count as separate images. Each "
            "contributor is credited for what their version adds when the other version is also present."
        )
    for names in lookalikes(data.contributors):
        yield f"{' and '.join(names)} look the same, and are different contributors; is this one person?"
    if data.repeated_items:
        yield f"{data.repeated_items} further images were left out: repeated copies from the same contributor."
    if any(data.licenses):
        counts = [f"{name or 'unknown'} ({count})" for name, count in data.licenses.items()]
        yield f"Licenses of the images: {shortened(counts)}."
    if others := unrecognized(data.licenses):
        yield (
            f"Licenses that are no known SPDX identifiers: {shortened(others)}. Correct them, or write a license of "
            "your own as LicenseRef-NAME."
        )
    stated = {
        "Terms of the licenses": data.terms,
        "Consent to training, by images": data.consents,
        "Consent of contributors, by images": data.given,
        "Where the images were obtained": data.sources,
    }
    for title, images in stated.items():
        if any(images):
            counts = [f"{name or 'not stated'} ({count})" for name, count in images.items()]
            yield f"{title}: {shortened(counts)}."
    if any(data.years):
        counts = [f"{year or 'unknown'} ({count})" for year, count in data.years.items()]
        yield f"Years in which the images were made: {', '.join(counts)}."
    if data.left_out:
        counts = [f"{name or 'unknown'} ({count})" for name, count in data.left_out.items()]
        yield f"Images left out because of their license: {shortened(counts)}."
        if data.left_out_of:
            yield f"These are of: {shortened([f'{name} ({count})' for name, count in data.left_out_of.items()])}."
    yield from refusal_notes(data)
    if data.without_images:
        yield (
            "Contributors of whose images none may be used, so that they are not credited: "
            f"{shortened(data.without_images)}."
        )


def attribution(source: EmbeddedSource | FileSource, artifacts: ArtifactStore, listed: str) -> Iterator[str]:
    """The line that a source asks to be shown with its images; of fonts, all names and licenses.

    Args:
        listed: digest of the table of listed images.
    """
    if isinstance(source, OpenmojiSource):
        yield f"{ATTRIBUTION}."
    elif isinstance(source, FontsSource):
        fonts = pd.read_parquet(io.BytesIO(artifacts.get(listed))).reindex(columns=["text", "style", "license"])
        families = {
            f"{text.partition(' in ')[2].removesuffix(f' {style}')} ({license or 'license unknown'})"
            for text, style, license in fonts.fillna("").drop_duplicates().itertuples(index=False)
        }
        yield f"Fonts: {', '.join(sorted(families))}."


def value_of(credit: Credited) -> str:
    """The value that credit is; see `royalty.infra.pages.report.Report`."""
    if credit.outputs.diagnostics.get("estimator") == FAITHFUL:
        return "images"
    return "groups" if credit.inputs.groups else credit.inputs.config.value


def resolution(config: CreditConfig, measured: Chosen, stderr: float) -> str:
    """State how precisely each model is measured."""
    return (
        f"Each model is measured on {config.sampling.images} generated images. For the pruned model, the standard "
        f"error of its {measured.title} over draws of that many images is {stderr:.2g}."
    )


def interval_sources(config: CreditConfig) -> str:
    """Sources of variation that the intervals cover."""
    sources = ["which coalitions happened to be drawn"]
    if (pipelines := config.coalitions.pipelines) > 1:
        sources.insert(0, f"the seeds of the classifier, the base model and its pruned copy ({pipelines} pipelines)")
    if config.coalitions.seeds > 1:
        sources.append("the training seeds of their models")
    if config.sampling.draws > 1:
        sources.append("the images sampled from these models")
    once = config.coalitions.seeds == 1
    listed = ", ".join(sources[:-1]) + " and " + sources[-1] if len(sources) > 1 else sources[0]
    return listed + (" (each was trained once)" if once else "")


def failure_notes(failed: Sequence[Sequence[str]]) -> Iterator[str]:
    """Name the coalitions that are left out because their training failed."""
    if failed:
        listed = "; ".join(", ".join(members) for members in failed[:FAILURES])
        yield (
            f"Training failed twice for {counted(len(failed), 'coalition')}, left out of the estimate, which widens "
            f"the intervals: {listed}{' and others' if len(failed) > FAILURES else ''}."
        )


def diagnostic_rows(diagnostics: Mapping[str, float | str]) -> Iterator[tuple[str, str]]:
    """Title and formatted value of each diagnostic of the estimate."""
    for key, value in diagnostics.items():
        if isinstance(value, str):
            yield DIAGNOSTICS[key], value
        elif key.startswith("variance_"):
            yield DIAGNOSTICS[key], f"{value:.0%}"
        elif key != "unpaired" or value:
            yield DIAGNOSTICS[key], f"{value:.3g}"


def policy_sentences(
    division: DividedPool, payout: PayoutConfig, table: pd.DataFrame, money: Callable[[int], str]
) -> Iterator[str]:
    """The terms of a division, its tiers, and the uncertainty that it is allowed.

    Args:
        table: the credit table.
        money: formats minor units.
    """
    yield from division.inputs.terms(payout).sentences(money)
    if division.outputs.tiers:
        yield tier_sentence(division.outputs.tiers)
    if not division.outputs.refusal:
        yield from parts_sentences(table, division.outputs, payout.minor_units, money)
    stderr = relative_stderr(table["credit"].to_numpy(float), table["stderr"].to_numpy(float))
    limit = division.inputs.config.get("limits", {}).get("stderr")  # not the run's, which a command may have lifted
    allowed = "which these terms do not limit" if limit is None else f"and these terms allow {limit:.3g}"
    yield f"The largest standard error of a credit is {stderr:.2g} of an equal share, {allowed}."


def parts_sentences(table: pd.DataFrame, paid: PayOutputs, pool: int, money: Callable[[int], str]) -> Iterator[str]:
    """How much of credit and pay is the same for all, and how much tells contributors apart."""
    credit = parts_of(table["credit"].tolist())
    pay = parts_of([paid.settlements[name].share for name in table["contributor"]])
    kept = reliability(credits_of(table))
    yield (
        f"An equal part of the credit is {credit.equal:.3g} for each of {len(table)} contributors, and of the pool "
        f"{money(round(pay.equal))}."
    )
    yield f"Differences between contributors move {money(round(pay.moved))} of {money(pool)}."
    yield (
        f"The reliability of the differences in credit is {kept:.2f}: the fraction of their variance that is not noise."
    )


def payout_remarks(paid: PayOutputs, payout: PayoutConfig) -> Iterator[tuple[str, str]]:
    """Contributors whose payment was adjusted, each with the reasons, then the reserve and credit that was kept."""
    yield from ((name, "; ".join(reasons)) for name, reasons in adjustments(paid, payout.formatted).items())
    if paid.reserve:
        yield "Reserve", f"{payout.formatted(paid.reserve)} of the pool, left by the cap or withheld to repay debts"
    if kept := kept_credit(paid):
        yield "Hysteresis", kept


def _pairs(shared: Sequence[tuple[str, str, int]]) -> list[str]:
    return [f"{first} and {second} ({count})" for first, second, count in shared]
