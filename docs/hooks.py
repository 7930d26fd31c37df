"""Hooks of MkDocs: pages of the site that lie outside ``docs/``, and links as they are on GitHub.

On GitHub a page links to any file of the repository. On the site a link leads to a page of the site where the file is one, to the
file in the repository where its address (`repo_url`) is known, and else nowhere. A link to a file that does not exist is left as
it is, so that the strict build fails on it.
"""

import posixpath
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import urlsplit

from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = (
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "conf/README.md",
    "data/README.md",
    "data/examples/README.md",
)


def link_on_site(href: str, page: str, repository: str) -> str | None:
    """Where a relative link of a page leads on the site.

    Args:
        href: The link as in the page, relative to the page's file in the repository.
        page: The page on the site, for example ``decisions/README.md``.
        repository: Address of the repository, or an empty text.

    Returns:
        A link relative to the page, an address, or None for a file that the site cannot show.
    """
    parts = urlsplit(href)
    if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
        return href
    folder = posixpath.dirname(page if page in OUTSIDE else f"docs/{page}")
    target = posixpath.normpath(posixpath.join(folder, parts.path))
    if not (ROOT / target).exists():
        return href
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    on_site = target.removeprefix("docs/")
    if on_site != target or target in OUTSIDE:
        return posixpath.relpath(on_site, posixpath.dirname(page) or ".") + fragment
    return f"{repository.rstrip('/')}/blob/main/{target}{fragment}" if repository else None


class _Links(Treeprocessor):
    page = ""
    repository = ""

    def run(self, root: ElementTree.Element) -> None:
        for element in root.iter("a"):
            href = link_on_site(element.get("href", ""), self.page, self.repository)
            if href is None:
                element.tag = "span"
                del element.attrib["href"]
            else:
                element.set("href", href)


class _AsOnGitHub(Extension):
    def __init__(self) -> None:
        super().__init__()
        self.links = _Links()

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        # What belongs to an item of a list is indented as far as its text, not by four.
        md.tab_length = 2
        # Before MkDocs looks at the links.
        md.treeprocessors.register(self.links, "links as on GitHub", 10)


_EXTENSION = _AsOnGitHub()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the extension, and the pages outside ``docs/`` to what ``mkdocs serve`` watches."""
    config.markdown_extensions.append(_EXTENSION)
    if config.repo_url:
        config.edit_uri = "edit/main/docs/"
    config.watch += [str(ROOT / page) for page in OUTSIDE]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages outside ``docs/``."""
    for page in OUTSIDE:
        files.append(File.generated(config, page, abs_src_path=str(ROOT / page)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Tells the extension which page comes next."""
    _EXTENSION.links.page, _EXTENSION.links.repository = page.file.src_uri, config.repo_url or ""
    return markdown
