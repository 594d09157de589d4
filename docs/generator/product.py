"""Everything that the documentation imports from the product: no other file here names one of its modules."""

from __future__ import annotations

import royalty

from flows.cli import app
from flows.configuration import (
    load_criteria_config,
    load_detection_config,
    load_gmvaluator_config,
    load_payout_config,
    load_value_config,
)
from infra.settings import Settings
from tasks.config import CreditConfig
from tasks.criteria_config import CriteriaConfig
from tasks.detection_config import DetectionConfig
from tasks.generator_config import RUNS as DEFAULTS_BY_KIND
from tasks.gmvaluator_config import GMValuatorConfig
from tasks.stage_config import StageConfig
from tasks.value_config import ValueConfig

load_config = royalty.load_config

__all__ = [
    "DEFAULTS_BY_KIND",
    "CreditConfig",
    "CriteriaConfig",
    "DetectionConfig",
    "GMValuatorConfig",
    "Settings",
    "StageConfig",
    "ValueConfig",
    "app",
    "load_config",
    "load_criteria_config",
    "load_detection_config",
    "load_gmvaluator_config",
    "load_payout_config",
    "load_value_config",
    "royalty",
]
