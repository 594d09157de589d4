"""Everything that the documentation imports from the product: no other file here names one of its modules."""

from __future__ import annotations

import royalty
from royalty.flows.cli.app import app
from royalty.flows.configuration import (
    load_criteria_config,
    load_detect_config,
    load_detection_config,
    load_distance_config,
    load_gmvaluator_config,
    load_index_config,
    load_memorization_config,
    load_payout_config,
    load_select_config,
    load_value_config,
)
from royalty.infra.settings import Settings
from royalty.tasks.config.attribution import IndexConfig
from royalty.tasks.config.base import StageConfig
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.criteria_settings import CriteriaSettings
from royalty.tasks.config.detecting import DetectConfig
from royalty.tasks.config.detection import DetectionConfig
from royalty.tasks.config.distance import DistanceConfig
from royalty.tasks.config.generator_base import AddedConfig
from royalty.tasks.config.generators import RUNS as DEFAULTS_BY_KIND
from royalty.tasks.config.gmvaluator import GMValuatorConfig
from royalty.tasks.config.memorization import MemorizationConfig
from royalty.tasks.config.selection import SelectConfig
from royalty.tasks.config.values import ValueConfig

load_config = royalty.load_config

__all__ = [
    "DEFAULTS_BY_KIND",
    "AddedConfig",
    "CreditConfig",
    "CriteriaSettings",
    "DetectConfig",
    "DetectionConfig",
    "DistanceConfig",
    "SelectConfig",
    "GMValuatorConfig",
    "MemorizationConfig",
    "IndexConfig",
    "Settings",
    "StageConfig",
    "ValueConfig",
    "app",
    "load_config",
    "load_criteria_config",
    "load_detect_config",
    "load_detection_config",
    "load_distance_config",
    "load_select_config",
    "load_gmvaluator_config",
    "load_memorization_config",
    "load_index_config",
    "load_payout_config",
    "load_value_config",
    "royalty",
]
