"""to_html: a page that is complete in itself, well formed, escaped, and drawn as a browser shows it."""
from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest

import tracegrad as tg

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert('&\"</script>"


def newton(a, tolerance=1e-6):
    x = a
    while abs(x * x - a) > tolerance:
        x = 0.5 * (x + a / x)
    return x


def strange(x, table):
    if x.sum() > 0:
        return x * table[HOSTILE]
    return x


def page_of(traced, folder):
    path = folder / "page.html"
    traced.explain().to_html(path)
    return path, path.read_text(encoding="utf-8")


def parsed(text):
    """The page as XML: every element is closed, every attribute quoted, every special character escaped."""
    begin = text.index("<html")
    return ET.fromstring(text[begin:])


@pytest.fixture
def traced():
    traced = tg.trace(newton)
    for value in (2.0, 3.0, 100.0, 2.0, 9.0, 1e6, 5.0):
        traced(tg.tensor(value, dtype=tg.float64))
    return traced


def test_a_page_is_well_formed_and_loads_nothing(traced, tmp_path):
    _, text = page_of(traced, tmp_path)
    tree = parsed(text)
    names = {element.tag.removeprefix(SVG) for element in tree.iter()}
    assert {"svg", "rect", "path", "details", "summary", "table", "style"} <= names
    assert names.isdisjoint({"script", "link", "img", "iframe", "object"})
    for element in tree.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on") and not (name == "href" and not value.startswith("#"))
    style = next(tree.iter("style")).text or ""
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme: dark" in style
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_every_path_and_way_is_drawn_and_leads_to_what_is_told_of_it(traced, tmp_path):
    _, text = page_of(traced, tmp_path)
    tree, explanation = parsed(text), traced.explain()
    anchors = {element.get("id") for element in tree.iter("details")}
    for trace in explanation.traces:
        assert f"path-{trace.number}" in anchors
        assert any(element.get("href") == f"#path-{trace.number}" for element in tree.iter(f"{SVG}a"))
    words = [element.text for element in tree.iter(f"{SVG}text")]
    assert "while abs(x * x - a) > tolerance" in words and any(word.startswith("True: ") for word in words)


def test_nothing_is_drawn_over_something_else(traced, tmp_path):
    _, text = page_of(traced, tmp_path)
    for svg in parsed(text).iter(f"{SVG}svg"):
        _, _, width, height = map(float, svg.get("viewBox").split())
        boxes = []
        for group in svg.iter(f"{SVG}g"):
            rect = group.find(f"{SVG}rect")
            boxes.append(tuple(float(rect.get(name)) for name in ("x", "y", "width", "height")))
        for k, (x, y, w, h) in enumerate(boxes):
            assert x + w <= width and y + h <= height
            for u, v, a, b in boxes[:k]:
                assert x + w <= u or u + a <= x or y + h <= v or v + b <= y


def test_what_is_the_users_is_escaped(tmp_path):
    traced = tg.trace(strange)
    for sign in (1.0, -1.0, 1.0):
        traced(tg.ones(2) * sign, {HOSTILE: 2.0})
    _, text = page_of(traced, tmp_path)
    assert "<script" not in text and "&lt;script&gt;" in text
    parsed(text)


def test_a_page_of_what_was_not_compiled_and_of_what_was_not_called(tmp_path):
    traced = tg.trace(lambda x: print(end="", file=None) or x)
    assert "not been called" in page_of(traced, tmp_path)[1]
    with pytest.warns(tg.NotReplayed):
        traced(tg.ones(2))
    _, text = page_of(traced, tmp_path)
    assert tg.Abort.UNKNOWN_CALL.cure in text
    parsed(text)


@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
def test_a_browser_shows_it(traced, tmp_path):
    """The document that the browser has made of it holds what was written, laid out: it found no error to mend."""
    path, text = page_of(traced, tmp_path)
    probe = path.with_name("probe.html")
    probe.write_text(text.replace("</body>", """<script>
      const shown = which => [...document.querySelectorAll(which)].filter(element => element.checkVisibility());
      const sizes = shown("svg").map(svg => svg.getBoundingClientRect());
      const texts = shown("svg g").filter(g => {
        const box = g.querySelector("rect").getBoundingClientRect();
        return [...g.querySelectorAll("text")].some(t => t.getBoundingClientRect().width > box.width);
      });
      document.title = `drawn ${sizes.filter(s => s.width > 100 && s.height > 50).length} of ${sizes.length}, `
        + `too wide ${texts.length}, scrolls ${document.documentElement.scrollWidth > innerWidth}`;
    </script></body>"""), encoding="utf-8")
    run = subprocess.run([BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1240,900",
                          f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", probe.as_uri()],
                         capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", run.stdout)
    assert title is not None
    found = re.fullmatch(r"drawn (\d+) of (\d+), too wide 0, scrolls false", title[1])
    assert found is not None and found[1] == found[2] != "0", title[1]
