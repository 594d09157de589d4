"""All pages of a run in one HTML file, for viewers that show one file and follow no link to another.

MLflow shows an HTML artifact in a sandboxed frame, without the files beside it. The frame may run scripts and may not
navigate, not even to an anchor of the same file, so that a script shows the page that a link names.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from html import escape
from pathlib import PurePosixPath

from royalty.infra.pages.contributors import INDEX

REPORT = "report.html"
TITLES = {REPORT: "Report", INDEX: "Contributors"}

STYLE = """
.page { display: none; }
.page.shown { display: block; }
.pages { padding-top: 1.25rem; display: flex; gap: 1rem; }
"""

SCRIPT = """
document.addEventListener("click", event => {
  const link = event.target.closest('a[href^="#page-"]');
  if (!link) return;
  event.preventDefault();
  for (const page of document.querySelectorAll(".page")) {
    page.classList.toggle("shown", `#${page.id}` === link.getAttribute("href"));
  }
  window.scrollTo(0, 0);
});
"""
POLICY = "script-src "
"""The part of the pages' content security policy to which a script is added."""

REFERENCES = re.compile(r'\b(id|aria-labelledby|aria-describedby)="([^"]+)"')
LINKS = re.compile(r'href="([^"#:]+\.html)"')


def combined(pages: Mapping[str, str]) -> str:
    """Put the pages into one, of which one is visible at a time: the report, until a link is followed.

    Args:
        pages: HTML files by their paths, `report.html` and `index.html` among them.
    """
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    head = pages[REPORT].partition("</style>")[0].replace(POLICY, f"{POLICY}'sha256-{digest}' ", 1)
    links = " ".join(f'<a href="#{_anchor(path)}">{escape(title)}</a>' for path, title in TITLES.items())
    navigation = f'<nav class="pages" aria-label="Pages">{links}</nav>'
    ordered = {REPORT: pages[REPORT], **pages}
    bodies = "\n".join(
        f'<div class="page{" shown" if path == REPORT else ""}" id="{_anchor(path)}" {_language(html)}>\n'
        f"{_body(path, html)}\n</div>"
        for path, html in ordered.items()
    )
    return (
        f"{head}{STYLE}</style>\n</head>\n<body>\n{navigation}\n{bodies}\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _anchor(path: str) -> str:
    return f"page-{PurePosixPath(path).stem}"


def _language(html: str) -> str:
    """The attributes of a page that say its language, and its texts for the script."""
    return html.partition("<html ")[2].partition(">")[0]


def _body(path: str, html: str) -> str:
    """The body of a page. Its ids get the page's name, because the pages use the same ones; its links, anchors."""
    body = html.partition("<body>")[2].rpartition("</body>")[0].strip()
    body = REFERENCES.sub(lambda match: f'{match[1]}="{_anchor(path)}-{match[2]}"', body)
    return LINKS.sub(lambda match: f'href="#{_anchor(match[1])}"', body)
