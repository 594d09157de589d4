"""All pages of a run in one HTML file, for viewers that show one file and follow no link to another.

MLflow shows an HTML artifact in a sandboxed frame, without the files beside it. The frame may run scripts and may not
navigate, not even to an anchor of the same file, so that a script shows the page that a link names.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
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

REFERENCES = re.compile(r' (id|aria-labelledby|aria-describedby)="([^"]+)"')
ROOT, BODY = "<html ", "<body>"
PIECE = 2**20
"""Least characters of a page that are copied at a time: a report of many contributors is large."""
LINKS = re.compile(r'href="([^"#:]+\.html)"')


def combined(pages: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Put the pages into one, of which one is visible at a time: the report, until a link is followed.

    Args:
        pages: paths and HTML, the report first, and `index.html` among them.

    Returns:
        The page in pieces, as many pages may be too large for memory.
    """
    started = False
    for path, html in pages:
        if not started:
            yield _head(html)
            started = True
        yield f'<div class="page{" shown" if path == REPORT else ""}" id="{_anchor(path)}" {_language(html)}>\n'
        yield from _body(path, html)
        yield "\n</div>\n"
    yield f"<script>{SCRIPT}</script>\n</body>\n</html>\n"


def _head(report: str) -> str:
    """The head of the report, and links to the report and to the index."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    head = report[: report.index("</style>")].replace(POLICY, f"{POLICY}'sha256-{digest}' ", 1)
    links = " ".join(f'<a href="#{_anchor(path)}">{escape(title)}</a>' for path, title in TITLES.items())
    navigation = f'<nav class="pages" aria-label="Pages">{links}</nav>'
    return f"{head}{STYLE}</style>\n</head>\n<body>\n{navigation}\n"


def _anchor(path: str) -> str:
    return f"page-{PurePosixPath(path).stem}"


def _language(html: str) -> str:
    """The attributes of a page that say its language, and its texts for the script."""
    start = html.index(ROOT) + len(ROOT)
    return html[start : html.index(">", start)]


def _body(path: str, html: str) -> Iterator[str]:
    """The body of a page. Its ids get the page's name, because the pages use the same ones; its links, anchors."""
    start, end = html.index(BODY) + len(BODY), html.rindex("</body>")
    while start < end and html[start].isspace():
        start += 1
    while start < end and html[end - 1].isspace():
        end -= 1
    while start < end:
        cut = html.find(">", start + PIECE, end) + 1 or end  # no text or attribute that is replaced contains it
        piece = html[start:cut]
        piece = REFERENCES.sub(lambda match: f' {match[1]}="{_anchor(path)}-{match[2]}"', piece)
        yield LINKS.sub(lambda match: f'href="#{_anchor(match[1])}"', piece)
        start = cut
