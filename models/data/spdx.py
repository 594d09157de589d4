"""Identifiers of licenses in the SPDX list (3.27) that occur for images, fonts and drawings."""

from __future__ import annotations

import re
from collections.abc import Iterable

CREATIVE_COMMONS = tuple(
    f"CC-{terms}-{version}"
    for terms in ("BY", "BY-SA", "BY-NC", "BY-ND", "BY-NC-SA", "BY-NC-ND")
    for version in ("1.0", "2.0", "2.5", "3.0", "4.0")
)
GNU = tuple(
    f"{name}-{version}{form}"
    for name, versions in (
        ("GPL", ("2.0", "3.0")),
        ("LGPL", ("2.1", "3.0")),
        ("AGPL", ("3.0",)),
        ("GFDL", ("1.1", "1.2", "1.3")),
    )
    for version in versions
    for form in ("", "-only", "-or-later")
)
OTHERS = (
    "0BSD", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "C-UDA-1.0", "CC0-1.0", "CC-PDDC",
    "CC-PDM-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "DL-DE-BY-2.0", "DL-DE-ZERO-2.0",
    "EPL-2.0", "etalab-2.0", "EUPL-1.2", "FreeImage", "FTL", "ISC", "LAL-1.2", "LAL-1.3", "MIT", "MIT-0", "MPL-2.0",
    "ODbL-1.0", "ODC-By-1.0", "OFL-1.0", "OFL-1.1", "OGL-UK-1.0", "OGL-UK-2.0", "OGL-UK-3.0", "PDDL-1.0",
    "Ubuntu-font-1.0", "Unlicense", "WTFPL", "Zlib",
)  # fmt: skip
KNOWN = frozenset(name.casefold() for name in (*CREATIVE_COMMONS, *GNU, *OTHERS))
OWN = re.compile(r"licenseref-[a-z0-9.-]+")
"""A license of one's own, as SPDX expressions name it."""
PARTS = re.compile(r"\s+(?:and|or)\s+|[()]")


def is_spdx(written: str) -> bool:
    """Whether a license is an identifier of `KNOWN`, one of one's own (`LicenseRef-`), or an expression of these.

    Case does not matter, nor does a space in place of a hyphen, as in `CC BY-SA 4.0`.
    """
    parts = [part for piece in PARTS.split(written.strip().casefold()) if (part := piece.strip())]
    names = [re.sub(r"[\s_]+", "-", part) for part in parts]
    return bool(names) and all(name in KNOWN or OWN.fullmatch(name) for name in names)


def unrecognized(licenses: Iterable[str]) -> list[str]:
    """The licenses that are no SPDX identifiers, in their order; without the empty name of those that are unknown."""
    return [name for name in licenses if name and not is_spdx(name)]
