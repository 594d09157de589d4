"""Divide the credit of each contributor among the contributor's images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.infra.wording import counted
from royalty.models.base.registry import modules_of
from royalty.models.data.names import shortened
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.estimate import Credited
from royalty.tasks.credit.stages import Classified, Ingested
from royalty.tasks.items.image_credit_stages import IMAGE_CREDIT, ImageCredited, ImageCreditInputs, ImageCreditOutputs
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.items import image_credit_worker
else:
    image_credit_worker = Deferred("royalty.tasks.items.image_credit_worker")


@task(name="divide credit among images", cache_policy=NO_CACHE, tags=["gpu"])
def divide_among_images(data: Ingested, judge: Classified, credit: Credited, config: CreditConfig) -> ImageCredited:
    """Divide credit by how well each image covers held-out images of others; see `image_parts`."""
    inputs = ImageCreditInputs(
        credit=credit.outputs.table,
        train=data.outputs.train,
        held_out=data.outputs.validation,
        classifier=judge.outputs.classifier if config.generator.needs_labels else "",
        encoder=config.image_credit.encoder,
        references=config.image_credit.references,
        seed=config.seed,
    )
    return run_in_worker(
        IMAGE_CREDIT,
        inputs,
        image_credit_worker.divide,
        title="Divide credit among images",
        total=data.outputs.total_items,
        also=modules_of(config.image_credit.entries),
    )


def image_credit_sentence(found: ImageCreditOutputs) -> str:
    """What was divided among how many images, for the report."""
    unseen = [name for name, others in found.compared.items() if not others]
    equal = f" All held-out images are by {shortened(unseen)}, whose credit is divided equally." if unseen else ""
    return (
        f"The credit of each contributor is divided among the contributor's images, {counted(found.images, 'part')} in "
        f"all, by how well they cover {counted(found.references, 'held-out image')} of others. No model is retrained "
        f"for it. The pages of contributors show the parts, and `image-credit.csv` has all of them.{equal}"
    )
