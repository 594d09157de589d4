"""Settings that do not apply if coalitions are sets of images, or of groups of contributors."""

from __future__ import annotations

from typing import Any

from royalty.models.generators.training import UNLEARNING


def check_units(config: Any) -> None:
    """Check settings against the units that coalitions consist of.

    Args:
        config: a `royalty.tasks.config.credit.CreditConfig`, whose module imports this one.

    Raises:
        ValueError: a setting does not apply to them.
    """
    coalitions = config.coalitions
    other_value = config.credit.value != "shapley"
    if coalitions.groups is not None:
        for setting, refused, reason in (
            ("coalitions.units", coalitions.units == "images", "coalitions are of images or of groups, not both"),
            ("coalitions.method", coalitions.method == "pooled", "`pooled` trains a model of each contributor"),
            ("credit.value", other_value, "the part of a member is a part of a Shapley value"),
            (
                "image_credit.references",
                config.image_credit.references > 0,
                "credit of images is not summed by group",
            ),
        ):
            if refused:
                got = config
                for part in setting.split("."):
                    got = getattr(got, part)
                raise ValueError(
                    f"`coalitions.groups` does not go with `{setting}: {got}`: {reason}. Leave `{setting}` at its "
                    "default, or leave out `coalitions.groups`"
                )
    if coalitions.units == "images":
        for setting, refused in {
            "stopping": config.stopping.has_target,
            "fidelity.retrain": config.fidelity.retrain > 0,
            "credit.value": other_value,
            "coalitions.method": coalitions.method in ("pooled", "amortized", *UNLEARNING),
        }.items():
            if refused:
                raise ValueError(
                    f"`coalitions.units: images` draws sets of images, to which `{setting}` as set does not apply; "
                    "leave it at its default"
                )
