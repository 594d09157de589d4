"""The reference of the environment, from the settings that read it."""

from __future__ import annotations

import yaml
from descriptions import DESCRIPTIONS, Described
from product import Settings
from tables import HEAD, settings_table

INTRODUCTION = """# Environment variables

Royalty reads these variables.

"""

OTHERS = """
## Variables of other tools

Royalty passes these through to the libraries that read them.

"""


def environment_page() -> str:
    described = Described("environment")
    prefix = Settings.model_config["env_prefix"]
    rows = [
        (f"`{prefix}{name.upper()}`", described.text(name), described.default(name) or f"`{field.get_default()}`")
        for name, field in Settings.model_fields.items()
    ]
    described.check_complete()
    others = [(f"`{name}`", text) for name, text in yaml.safe_load(DESCRIPTIONS.read_text("utf-8"))["others"].items()]
    return (
        HEAD
        + INTRODUCTION
        + settings_table(("Variable", "Meaning", "Default"), rows)
        + OTHERS
        + settings_table(("Variable", "Meaning"), others)
    )
