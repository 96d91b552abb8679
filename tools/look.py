"""Look at every page of the site in a headless browser, `make pages`: what is broken, unreadable or unreachable.

Each page is opened wide and light, and narrow and dark. Screenshots and what was found are written beside the site.
"""

import argparse
import importlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VIEWS = ((1280, "light"), (390, "dark"))  # both widths, and both colour schemes
IN_A_CONTAINER = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
)  # as root, little shared memory, no screen
TABS = 40  # keys pressed on a page
# What no setting of ours changes: Sphinx' field lists, the theme's search above the contents, pandas' head of an index.
NOT_OURS = ("definition-list", "dlitem", "region", "empty-table-header")
PATIENCE = 120_000  # milliseconds for what the browser is told
TALLEST = 6000  # pixels of a screenshot
FOUND_BY_SCRIPT = """() => {
const sources = wrong => [...document.images].filter(wrong).map(image => image.src.slice(0, 99));
return {
  images: sources(image => !image.complete || !image.naturalWidth),
  silent: sources(image => !image.alt),
  links: [...document.links].map(link => link.href),
  wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
};
}"""
ALL_PICTURES = """() => Promise.all([...document.images].map(image => {
  image.loading = "eager";
  return image.decode().catch(() => null); // those that are broken are found by their size
}))"""
FOCUSED = """() => {
  const node = document.activeElement, box = node.getBoundingClientRect(), style = getComputedStyle(node);
  if (node === document.body) return null;
  const seen = box.width > 0 && box.height > 0 && style.visibility !== "hidden";
  return [node.outerHTML.slice(0, 99), seen];
}"""


def pages(site: Path) -> list[Path]:
    """Return the pages of a site, without those that only show sources."""
    return [
        page for page in sorted(site.rglob("*.html")) if "_modules" not in page.parts and "_static" not in page.parts
    ]


def browser() -> str | None:
    """Return the path of a browser; None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def look(site: Path, shots: Path, executable: str) -> dict[str, list[str]]:
    """Open every page in each of `VIEWS`, and return what is wrong with it, by page.

    Args:
        site: folder of pages.
        shots: folder for the screenshots.
        executable: path of the browser.
    """
    playwright = importlib.import_module("playwright.sync_api")  # of the extra `pages`
    found: dict[str, list[str]] = {}
    known: dict[Path, set[str]] = {}
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=list(IN_A_CONTAINER))
        for page in pages(site):
            name = str(page.relative_to(site))
            for width, scheme in VIEWS:
                view = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                shot = shots / f"{page.relative_to(site).with_suffix('')}-{width}-{scheme}.png"
                wrong = list(dict.fromkeys(_wrong(view, page, shot, known)))
                found.setdefault(name, []).extend(f"{width} {scheme}: {one}" for one in wrong)
                print(f"{name} {width} {scheme}:", *(wrong or ["good"]), sep="\n  ", flush=True)
                view.close()
        chromium.close()
    return {name: wrong for name, wrong in found.items() if wrong}


def broken_links(page: Path, links: Iterable[str], known: dict[Path, set[str]]) -> Iterator[str]:
    """Yield the links of a page that lead to no file, or to no place in a page.

    Args:
        page: that has the links.
        links: absolute addresses; those of the network are left alone.
        known: the names of places of the pages that were opened, which is filled here.
    """
    for link in dict.fromkeys(links):
        parts = urlsplit(link)
        target = Path(unquote(parts.path))
        if parts.scheme != "file":
            continue
        if not target.is_file():
            yield f"a link leads nowhere: {link}"
        elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in _places(target, known):
            yield f"a link leads to no place of a page: {link}"


class _Names(HTMLParser):
    """Collects the names of the places of a page that a link may lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found |= {value for name, value in attributes if value and name in ("id", "name")}


def _places(page: Path, known: dict[Path, set[str]]) -> set[str]:
    if page not in known:
        parser = _Names()
        parser.feed(page.read_text(encoding="utf-8"))
        known[page] = parser.found
    return known[page]


def _wrong(view: Any, page: Path, shot: Path, known: dict[Path, set[str]]) -> list[str]:
    told: list[str] = []
    view.set_default_timeout(PATIENCE)
    view.on("console", lambda message: told.append(f"console: {message.text}") if message.type == "error" else None)
    view.on("pageerror", lambda error: told.append(f"script: {error}"))
    view.on("requestfailed", lambda request: told.append(f"not loaded: {request.url}"))
    view.on("request", lambda request: told.append(f"network: {request.url}") if "http" in request.url[:4] else None)
    view.goto(page.as_uri())
    _show_all(view)
    seen = view.evaluate(FOUND_BY_SCRIPT)
    told += [f"a picture is broken: {image}" for image in seen["images"]]
    told += [f"a picture has no text: {image}" for image in seen["silent"]]
    told += broken_links(page, seen["links"], known)
    if seen["wider"] > 0:
        told.append(f"wider than the window by {seen['wider']} pixels")
    told += _violations(view)
    shot.parent.mkdir(parents=True, exist_ok=True)
    keys = list(_unreachable(view))
    height = min(view.evaluate("document.documentElement.scrollHeight"), TALLEST)
    view.set_viewport_size({"width": view.viewport_size["width"], "height": height})
    view.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
    view.screenshot(path=str(shot))
    return told + keys


def _show_all(view: Any) -> None:
    """Load the pictures that wait to be seen, and wait for all."""
    view.evaluate(ALL_PICTURES)


def _violations(view: Any) -> list[str]:
    """Return what axe-core finds, which speaks for those who read with their ears or with a keyboard."""
    axe = importlib.import_module("axe_playwright_python.sync_playwright").Axe()
    options: dict[str, Any] = {
        "runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"],
        "resultTypes": ["violations"],
    }
    options |= {"preload": False, "rules": {rule: {"enabled": False} for rule in NOT_OURS}}
    found = axe.run(view, options=options).response["violations"]
    return [f"{one['id']}: {node['target'][0]} ({one['help']})" for one in found for node in one["nodes"][:3]]


def _unreachable(view: Any) -> Iterator[str]:
    """Press the tabulator and yield what is wrong with where it leads."""
    met = []
    for _ in range(TABS):
        view.keyboard.press("Tab")
        focused = view.evaluate(FOCUSED)
        if focused is None:
            break
        met.append(focused[0])
        if not focused[1]:
            yield f"the keyboard leads to what cannot be seen: {focused[0]}"
    if len(met) < 2:
        yield "the keyboard reaches nothing"


def main() -> int:
    """Look at all pages; return 1 if anything is wrong, and 0 where there is no browser, which is said."""
    parser = argparse.ArgumentParser(prog="python -m tools.look", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build"), help="folder with site/ (default: build)")
    output = parser.parse_args().output.resolve()
    executable = browser()
    if executable is None:
        print(f"No page was looked at: expected one of {', '.join(BROWSERS)}.")
        return 0
    found = look(output / "site", output / "shots", executable)
    (output / "pages.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(f"{len(pages(output / 'site'))} pages, {sum(map(len, found.values()))} findings: {output / 'shots'}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
