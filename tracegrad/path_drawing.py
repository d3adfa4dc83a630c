"""The tree of paths of a root, drawn: work and questions down the trunk, other ways to the right of where they leave.

    [5 operations  ]
    [while x > tol ] ── False: 9× ── (path 2)
           │ True: 31×
    [4 operations  ]
"""
from __future__ import annotations

from tracegrad.drawings import LINE, PADDING, TURN, Box, Drawing, cut, width_of
from tracegrad.path_tree import Row, Stretch, counted, rows, unseen

COLUMN = 290            # the width of what stands on the trunk
LABEL = 165             # the room for what is written on a way to the right
DOWN = 34               # the room for what is written on the way down
GAP = 12
MOST = 38               # characters in a box of the trunk
MOST_SIDES = 12         # ways beside the trunk that are drawn in one place


def draw_paths(tree: Stretch) -> str:
    """The SVG of a tree."""
    drawing = Drawing()
    _draw(drawing, rows(tree), 0, 0, max(tree.calls, 1))
    return drawing.svg("the ways that calls go")


def _draw(drawing: Drawing, tree: list[Row], x: float, y: float, calls: int) -> tuple[Box, float]:
    """Draw rows from a corner on; gives the first box and where they end."""
    first: Box | None = None
    came: tuple[float, float] | None = None
    weight = 1.0
    for row in tree:
        stretch = row.stretches[0]
        top = y
        if len(row.stretches) > 1:
            drawing.words(x + 4, y + LINE - 3, f"{len(row.stretches)} times", kind="times")
            y += LINE + 2
        boxes = _trunk_boxes(drawing, stretch, x, y)
        if came is not None:
            drawing.down(came, boxes[0].top, weight=weight)
        first = first or boxes[0]
        last = boxes[-1]
        y = max(last.y + last.height, _draw_ways(drawing, row, last, calls)) if stretch.question else last.bottom[1]
        if len(row.stretches) > 1:
            drawing.frame(Box(x - 6, top - 2, COLUMN + 12, last.bottom[1] - top + 8))
        if row.trunk is not None:
            came, weight = last.bottom, _weight(row.trunk.calls, calls)
            y += DOWN
            drawing.words(came[0] + 8, y - DOWN / 2 + 4, _label(row.trunk.value, row.trunk.calls))
    assert first is not None
    return first, y


def _trunk_boxes(drawing: Drawing, stretch: Stretch, x: float, y: float) -> list[Box]:
    """The work of a stretch, and the question at its end or the end of a path."""
    boxes: list[Box] = []
    if stretch.operations:
        text = counted(stretch.operations, "operation")
        lines = (text, cut(stretch.lines, MOST)) if stretch.lines else (text,)
        boxes.append(drawing.box(x, y, *lines, kind="work", width=COLUMN))
        y += boxes[0].height + GAP
    if stretch.question:
        where = f"{stretch.question} at {stretch.line}" if stretch.line else stretch.question
        boxes.append(drawing.box(x, y, cut(stretch.source or stretch.question, MOST), cut(where, MOST), kind="question",
                                 title=stretch.asked, width=COLUMN))
    else:
        text = f"path {stretch.path}"
        boxes.append(drawing.box(x + (COLUMN - width_of(text)) / 2, y, text, kind="end", link=f"path-{stretch.path}",
                                 title=f"{text}: {counted(stretch.calls, 'replay')}"))
    for above, below in zip(boxes, boxes[1:]):
        drawing.down(above.bottom, below.top)
    return boxes


def _draw_ways(drawing: Drawing, row: Row, question: Box, calls: int) -> float:
    """The ways to the right, and those that no call has gone; gives where they end."""
    x, y = question.x + COLUMN + LABEL, question.y
    sides = list(row.sides)
    for way in sides[:MOST_SIDES]:
        if way.to.question:
            box, bottom = _draw(drawing, rows(way.to), x, y, calls)
        else:
            work = f"{counted(way.to.operations, 'operation')}, " if way.to.operations else ""
            box = drawing.box(x, y, f"{work}path {way.to.path}", kind="end", link=f"path-{way.to.path}",
                              title=f"{work}{way.to.lines} path {way.to.path}: {counted(way.calls, 'replay')}")
            bottom = box.bottom[1]
        drawing.right(question.right, box.left, weight=_weight(way.calls, calls))
        drawing.words(question.right[0] + TURN + 4, box.left[1] - 5, _label(way.value, way.calls))
        y = bottom + GAP
    if len(sides) > MOST_SIDES:
        drawing.words(x, y + LINE, f"and {len(sides) - MOST_SIDES} more")
        y += LINE + GAP
    if (beyond := unseen(row)) is not None:
        values, says = beyond
        box = drawing.box(x, y, says, kind="unseen")
        drawing.right(question.right, box.left, kind="edge unseen")
        drawing.words(question.right[0] + TURN + 4, box.left[1] - 5, cut(values, 14))
        y = box.bottom[1] + GAP
    return y - GAP + PADDING


def _label(value: str, calls: int) -> str:
    return f"{cut(value, 10)}: {calls}×"


def _weight(calls: int, of: int) -> float:
    return 1 + 4 * calls / of
