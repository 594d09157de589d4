"""The public summary of training content that the EU AI Act asks for, as far as a run knows it, in Markdown.

Its sections are those of the template that the European Commission published on 24 July 2025 for Article 53(1)(d) of
Regulation (EU) 2024/1689. What a run does not know is left to the provider, and marked.
"""

from __future__ import annotations

from collections.abc import Iterator

from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import Workspace
from royalty.models.base.errors import InputError
from royalty.tasks.credit.stages import INGEST, IngestOutputs
from royalty.tasks.report.text import escaped

OPEN = "**To be stated by the provider.**"
PUBLISHED = {
    "digits": "the scans of handwritten digits in scikit-learn",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "cifar20": "CIFAR-100, coarse labels",
    "celeba-hq": "CelebA-HQ",
    "artbench": "ArtBench-10",
    "openmoji": "OpenMoji and the emoji of other vendors, from packages",
}
"""Image sources that are public data sets, and what they are called."""
SIZES = ((10**6, "less than 1 million images"), (10**9, "1 million to 1 billion images"))
LARGEST = "more than 1 billion images"
NAMED = 20
"""Licences that the summary lists."""


def training_summary(space: Workspace, run: str) -> str:
    """Compose the summary of the images that a run was trained on.

    Args:
        run: name of a run, or digest of its credit table.

    Raises:
        InputError: there is no credit of this run.
        StoreError: the run store has no images of it.
    """
    credited = space.ledger.credit_of(run)
    if credited is None:
        known = ", ".join(space.ledger.credited_runs()) or "none"
        raise InputError(f"a summary is of a run that has come to credit, and {run!r} has not; there are {known}")
    name, stage = credited
    upstream = space.lineage.upstream([stage])
    ingested = [row for row in space.runs.stages(INGEST.name) if row.key in upstream]
    if not ingested:
        raise StoreError(f"the run store lacks the images of the run {name!r}; was a part of it deleted? Run it again")
    data, config = INGEST.finished(ingested[-1]).outputs, space.runs.config(name) or {}
    source = str((config.get("data") or {}).get("source", "digits"))
    parts = (_general(name, data), _sources(source, data), _processing(data))
    return "\n".join(line for part in parts for line in part) + "\n"


def _general(name: str, data: IngestOutputs) -> Iterator[str]:
    size = next((title for least, title in SIZES if data.total_items < least), LARGEST)
    years = sorted(year for year in data.years if year)
    yield from (f"# Public summary of training content: {escaped(name)}", "")
    yield "Under Article 53(1)(d) of Regulation (EU) 2024/1689. Written from the records of a run; no legal advice."
    yield from ("", "## 1. General information", "", "### 1.1 Provider", "", OPEN)
    yield from ("", "### 1.2 Model", "", f"- Model: the generator of the run {escaped(name)}")
    yield f"- Versions of the model, models that it builds on, and date of placing on the Union market: {OPEN}"
    yield from ("", "### 1.3 Modalities, size and other characteristics", "", "- Modality: images")
    yield f"- Size: {size} ({data.total_items:,} distinct images were trained on)"
    yield f"- Training images, SHA-256: `{data.train}`"
    made = f"{years[0]} to {years[-1]}" if years else "not stated by the images"
    yield f"- Years in which the images were made: {made}"
    yield f"- Latest date of collection, and types of content: {OPEN}"
    yield "- Languages: captions, if there are any, are not analysed"
    yield ""


def _sources(source: str, data: IngestOutputs) -> Iterator[str]:
    yield from ("## 2. Data sources", "")
    public = PUBLISHED.get(source)
    yield "### 2.1 Publicly available datasets"
    yield from ("", f"- {public}, {data.total_items:,} images" if public else "None by this run.", "")
    yield "### 2.2 Private datasets obtained from third parties"
    people = f"{data.total_items:,} images that {len(data.contributors):,} contributors brought, with a record of each"
    yield from ("", "None by this run." if public else f"- {people}", "", "Licences that the images state:", "")
    counts = sorted(data.licenses.items(), key=lambda pair: (-pair[1], pair[0])) or [("", data.total_items)]
    for licence, count in counts[:NAMED]:
        yield f"- {escaped(licence) or 'not stated'}: {count:,} images"
    if len(counts) > NAMED:
        yield f"- {len(counts) - NAMED} further licences"
    if any(data.given):
        stated = (f"{name or 'not stated'} {count:,}" for name, count in data.given.items())
        yield from ("", f"Consent of contributors, by images: {', '.join(stated)}.")
    if any(data.sources):
        count = sum(count for source, count in data.sources.items() if source)
        yield from ("", f"Of {count:,} images the records state where they were obtained.")
    yield from ("", "### 2.3 Data crawled and scraped from online sources", "", "Royalty crawls nothing. " + OPEN)
    yield from ("", "### 2.4 User data", "", OPEN, "", "### 2.5 Synthetic data", "", OPEN, "", "### 2.6 Other sources")
    yield from ("", OPEN, "")


def _processing(data: IngestOutputs) -> Iterator[str]:
    yield from ("## 3. Data processing", "", "### 3.1 Reservations of rights", "")
    for title, counts in (
        ("withdrawn by their contributors (opt-outs), and not trained on", data.withdrawn),
        ("left out because of their licence", data.left_out),
    ):
        yield f"- {sum(counts.values()):,} images {title}"
    treated = "not trained on" if data.not_consented_left_out else "counted only"
    yield f"- {sum(data.not_consented.values()):,} images that their contributors do not allow to train on, {treated}"
    treated = "not trained on" if data.refused_left_out else "counted only"
    yield f"- {sum(data.refused.values()):,} images whose Content Credentials refuse training, {treated}"
    yield f"- {data.manifests:,} images with Content Credentials that were read"
    yield f"- Other measures to identify and respect reservations: {OPEN}"
    yield from ("", "### 3.2 Removal of illegal content", "", OPEN)
    yield from ("", "### 3.3 Other information", "")
    yield f"- {len(data.players):,} contributors are credited"
    yield f"- {data.shared_items:,} images have several contributors"
