"""A page of HTML as its reader finds it, and what every page promises."""

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that every tag is closed in order and collects tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def check_page(html: str) -> Page:
    """Check that a page is whole, needs nothing else, runs nothing, and can be read with a screen reader; return it."""
    page = Page(html)
    assert html.lstrip().startswith("<!doctype html>")
    assert html.rstrip().endswith("</html>")
    assert not re.search(r"https?:|//[a-z]|@import|url\(|javascript:|data:", html)
    names = [tag for tag, _ in page.tags]
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(names)
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert not attributes & {"src", "srcset", "action"}
    assert not any(name.startswith("on") for name in attributes)
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    assert not re.search(r"\b(nan|inf|None|Undefined)\b", page.text)
    assert [attrs["lang"] for tag, attrs in page.tags if tag == "html"] == ["en"]
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.tags:
        assert set((attrs.get("aria-labelledby") or "").split()) <= set(ids)
    drawings = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert all(attrs.get("aria-hidden") == "true" or attrs.get("aria-labelledby") for attrs in drawings)
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    assert names.count("h1") == 1
    return page
