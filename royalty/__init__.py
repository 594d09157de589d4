"""Credit, value and pay the people whose images trained a generative model.

Functions on arrays: `sample_coalitions`, `estimate_shapley` and `exact_shapley` compute the credit of contributors,
`estimate_semivalues` Banzhaf and Beta values, and `faithful_shapley` credit that no second name changes;
`grouped_shapley` divides the credit of groups among their members, for very many contributors;
`combine_pipelines` credit whose base model and judge were trained several times;
`fit_game` also computes who substitutes whom, and predicts the utilities of coalitions;
`lava_values`, `sava_values`, `knn_shapley_values` and `gmvaluator_values` compute the values of single items;
`detect_items` finds faulty items, `select_items` selects items within a budget, and `set_distance` compares two sets;
`LavaValuer`, `SavaValuer` and `Detector` are estimators with scikit-learn's interface;
`divide_pool` divides money by credit. Functions with a configuration: `load_config`,
`run`, `revalue`, `payout` and `trace`, like the commands of the same names. Higher is always more valuable.

Names are imported on first use, so that `import royalty` loads no other library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from royalty.flows.api import payout, revalue, run, trace
    from royalty.flows.configuration import load_config
    from royalty.models.base.errors import InputError
    from royalty.models.payout.division import Terms, divide_pool
    from royalty.models.payout.policies import Credit
    from royalty.models.valuation.coalitions import sample_coalitions
    from royalty.models.valuation.detector import detect_items
    from royalty.models.valuation.estimators import Detector, LavaValuer, SavaValuer
    from royalty.models.valuation.faithful import faithful_shapley
    from royalty.models.valuation.game import fit_game
    from royalty.models.valuation.gmvaluator import gmvaluator_values
    from royalty.models.valuation.grouped import grouped_shapley
    from royalty.models.valuation.image_sets import sample_image_sets
    from royalty.models.valuation.knn_shapley import knn_shapley_values
    from royalty.models.valuation.lava import lava_values
    from royalty.models.valuation.pipelines import combine_pipelines
    from royalty.models.valuation.sava import sava_values
    from royalty.models.valuation.selection import select_items
    from royalty.models.valuation.semivalue_estimates import estimate_semivalues
    from royalty.models.valuation.semivalues import exact_shapley
    from royalty.models.valuation.set_distance import set_distance
    from royalty.models.valuation.shapley import estimate_shapley

    __version__: str

__all__ = [
    "Credit",
    "Detector",
    "InputError",
    "LavaValuer",
    "SavaValuer",
    "Terms",
    "__version__",
    "combine_pipelines",
    "detect_items",
    "divide_pool",
    "estimate_semivalues",
    "estimate_shapley",
    "exact_shapley",
    "faithful_shapley",
    "fit_game",
    "gmvaluator_values",
    "grouped_shapley",
    "knn_shapley_values",
    "lava_values",
    "load_config",
    "payout",
    "revalue",
    "run",
    "sample_coalitions",
    "sample_image_sets",
    "sava_values",
    "select_items",
    "set_distance",
    "trace",
]

_MODULES = {
    "Credit": "royalty.models.payout.policies",
    "Detector": "royalty.models.valuation.estimators",
    "InputError": "royalty.models.base.errors",
    "LavaValuer": "royalty.models.valuation.estimators",
    "SavaValuer": "royalty.models.valuation.estimators",
    "Terms": "royalty.models.payout.division",
    "combine_pipelines": "royalty.models.valuation.pipelines",
    "detect_items": "royalty.models.valuation.detector",
    "divide_pool": "royalty.models.payout.division",
    "estimate_semivalues": "royalty.models.valuation.semivalue_estimates",
    "estimate_shapley": "royalty.models.valuation.shapley",
    "exact_shapley": "royalty.models.valuation.semivalues",
    "faithful_shapley": "royalty.models.valuation.faithful",
    "fit_game": "royalty.models.valuation.game",
    "gmvaluator_values": "royalty.models.valuation.gmvaluator",
    "grouped_shapley": "royalty.models.valuation.grouped",
    "knn_shapley_values": "royalty.models.valuation.knn_shapley",
    "lava_values": "royalty.models.valuation.lava",
    "load_config": "royalty.flows.configuration",
    "payout": "royalty.flows.api",
    "revalue": "royalty.flows.api",
    "run": "royalty.flows.api",
    "sample_coalitions": "royalty.models.valuation.coalitions",
    "sample_image_sets": "royalty.models.valuation.image_sets",
    "sava_values": "royalty.models.valuation.sava",
    "select_items": "royalty.models.valuation.selection",
    "set_distance": "royalty.models.valuation.set_distance",
    "trace": "royalty.flows.api",
}
"""The module that defines each public name."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("royalty")
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module 'royalty' has no attribute {name!r}")
    globals()[name] = value  # later uses do not call this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
