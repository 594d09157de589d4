"""Show a gallery in the report of the run whose credit it is of, as soon as it is made."""

from __future__ import annotations

from prefect.cache_policies import NO_CACHE
from pydantic import ValidationError

from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import open_workspace
from royalty.tasks.credit.estimate import CREDIT
from royalty.tasks.pay.stages import PAY
from royalty.tasks.report.payment_pages import latest_reports, write_again
from royalty.tasks.stages.task import task


@task(name="show the gallery in the report", cache_policy=NO_CACHE)
def show_gallery(name: str, credit: str) -> str:
    """Write the pages of a run again, in its folder and in MLflow, if its last report is of this credit.

    The gallery is published, whether or not the report can be written.

    Args:
        credit: key of the stage that estimated the credit.

    Returns:
        Which report shows the gallery, or will.
    """
    space = open_workspace(settings())
    reported = latest_reports(space).get(name)
    if reported is None or reported.inputs.stages[CREDIT.name] != credit:
        return f"no report of this credit is written yet; `royalty run` writes it, with the gallery of {name!r}"
    division = PAY.kept(space, reported.inputs.stages[PAY.name])
    try:
        if division is None:
            raise StoreError("the run store lacks the division that it shows")
        write_again(space, name, reported, division, space.ledger.verified_statements())
    except (OSError, StoreError, ValidationError) as error:
        return f"the report of the run {name!r} does not show it yet: {error}. `royalty run` writes it again"
    return str(space.root / "runs" / name / "report.html")
