"""Drawing: boxes, edges and words as SVG, colored by the classes of the page they are put in.

    drawing = Drawing()
    box = drawing.box(0, 0, "mul", "f32[3]", kind="op")     ->   its place, to draw edges from and to
    drawing.svg("the graph of path 1")                      ->   <svg ...>...</svg>, as large as what is in it
"""
from __future__ import annotations

from html import escape

from codegen.ir.structs import struct

CHARACTER = 7.3         # pixels, of the monospaced font at 12 pixels
LINE = 15
PADDING = 9
MARGIN = 12
TURN = 46               # where an edge to the right is level again

Point = tuple[float, float]


@struct
class Box:
    """Where something was drawn."""

    x: float
    y: float
    width: float
    height: float

    @property
    def top(self) -> Point:
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> Point:
        return self.x + self.width / 2, self.y + self.height

    @property
    def left(self) -> Point:
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> Point:
        return self.x + self.width, self.y + self.height / 2


def width_of(*lines: str) -> float:
    """How wide a box with these lines is."""
    return max(map(len, lines)) * CHARACTER + 2 * PADDING


def cut(text: str, most: int) -> str:
    """The text, or its beginning."""
    return text if len(text) <= most else text[:most - 1] + "…"


class Drawing:
    """What has been drawn so far; edges lie below boxes."""

    def __init__(self) -> None:
        self._below: list[str] = []
        self._above: list[str] = []
        self._right = self._bottom = 0.0

    def box(self, x: float, y: float, *lines: str, kind: str, title: str = "", width: float = 0, link: str = "") -> Box:
        """A box of class `kind` with these lines of text; `title` is shown where the pointer rests."""
        place = Box(x, y, width or width_of(*lines), len(lines) * LINE + PADDING)
        self._reach(place)
        middle, first = place.top[0], y + LINE + 1
        texts = (f'<text class="{"dim" if k else "first"}" x="{middle:.1f}" y="{first + LINE * k:.1f}">'
                 f"{escape(line)}</text>" for k, line in enumerate(lines))
        shape = (f'<g class="{kind}"><title>{escape(title or " ".join(lines))}</title><rect x="{x:.1f}" y="{y:.1f}" '
                 f'width="{place.width:.1f}" height="{place.height:.1f}" rx="6"/>{"".join(texts)}</g>')
        self._above.append(f'<a href="#{escape(link)}">{shape}</a>' if link else shape)
        return place

    def down(self, start: Point, end: Point, *, kind: str = "edge", weight: float = 1) -> None:
        """A curve that leaves and arrives downwards."""
        (x, y), (u, v) = start, end
        half = (y + v) / 2
        self._edge(f"M{x:.1f} {y:.1f}C{x:.1f} {half:.1f} {u:.1f} {half:.1f} {u:.1f} {v:.1f}", kind, weight)

    def right(self, start: Point, end: Point, *, kind: str = "edge", weight: float = 1) -> None:
        """A curve that leaves and arrives to the right, and is level from `TURN` on."""
        (x, y), (u, v) = start, end
        turned = x + TURN
        bend = f"{x + TURN / 2:.1f} {y:.1f} {x + TURN / 2:.1f} {v:.1f}"
        self._edge(f"M{x:.1f} {y:.1f}C{bend} {turned:.1f} {v:.1f}L{u:.1f} {v:.1f}", kind, weight)

    def _edge(self, curve: str, kind: str, weight: float) -> None:
        self._below.append(f'<path class="{kind}" stroke-width="{weight:.1f}" d="{curve}"/>')

    def words(self, x: float, y: float, text: str, *, kind: str = "label") -> None:
        """A line of text that begins at a point."""
        self._above.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>')
        self._reach(Box(x, y - LINE, len(text) * CHARACTER, LINE))

    def frame(self, place: Box) -> None:
        """A frame behind what is drawn there."""
        self._below.append(f'<rect class="frame" x="{place.x:.1f}" y="{place.y:.1f}" width="{place.width:.1f}" '
                           f'height="{place.height:.1f}" rx="10"/>')
        self._reach(place)

    def svg(self, title: str) -> str:
        """All of it."""
        width, height = self._right + MARGIN, self._bottom + MARGIN
        return (f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(title)}" '
                f'viewBox="{-MARGIN} {-MARGIN} {width + MARGIN:.0f} {height + MARGIN:.0f}" '
                f'width="{width + MARGIN:.0f}" height="{height + MARGIN:.0f}">'
                + "\n".join((*self._below, *self._above)) + "</svg>")

    def _reach(self, place: Box) -> None:
        self._right = max(self._right, place.x + place.width)
        self._bottom = max(self._bottom, place.y + place.height)
