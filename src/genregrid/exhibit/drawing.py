"""The style, layout and legends of all drawings, and their conversion to SVG.

In the SVG, text stays text, and `INK` becomes ``currentColor``, which is the page's text colour. One drawing therefore
serves light and dark pages. Models differ in marker and dash too, not in colour alone. Lengths are in CSS pixels.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, cast
from xml.sax.saxutils import escape

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from genregrid.errors import printable
from genregrid.exhibit.colour import genre_colours, ink_on
from genregrid.exhibit.mark import Mark
from genregrid.exhibit.table import Figure

INK = "#010203"  # a colour that no data are drawn in
# Okabe and Ito's palette without yellow and black. Its blue is lighter and its orange darker, so that each colour is
# visible on white and on black. Vermilion is kept for leaks.
COLOURS = ("#1a80bd", "#d98f00", "#009e73", "#cc79a7", "#56b4e9", "#8a8a8a")
LEAK = "#d55e00"
DASHED = (0, (4, 2))
_DASHES: tuple[Any, ...] = ("-", DASHED, (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_MARKERS = "os^DvPXp"
WIDTH = 720.0
SIZE = 12.0  # of text
LETTER = 6.6  # assumed width of a letter; the page chooses the font
_LONGEST_ALT = 20_000  # characters of a description, which names every cell
_LONGEST_GENRE = 60  # characters; more than 90 leave no room for a drawing
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters that no XML file may have
_LEFT, _BOTTOM = 58.0, 44.0  # margins for tick labels and an axis title

_STYLE = {
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans"],  # each text lists them all; the page's style sheet sets its own font
    "text.parse_math": False,  # a dollar sign in a name does not start a formula
    "text.usetex": False,  # a user's own style may turn it on, and LaTeX runs commands in names
    "font.size": SIZE,
    **dict.fromkeys(("text.color", "xtick.color", "ytick.color", "grid.color"), INK),
    **dict.fromkeys(("axes.labelcolor", "axes.edgecolor"), INK),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": SIZE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.15,
    "figure.dpi": 72,  # a point is a pixel
    "legend.frameon": False,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 6,
    "hatch.linewidth": 0.8,
}
styled = matplotlib.rc_context(cast(Any, _STYLE))


def genre_labels(genres: Sequence[str]) -> list[str]:
    """Return names of genres as a drawing shows them: on one line, long ones shortened."""
    return [printable(genre, _LONGEST_GENRE) for genre in genres]


def plot(
    height: float, *, top: float = 10, left: float = _LEFT, right: float = 12, width: float = WIDTH
) -> tuple[Drawing, Axes]:
    """Make a drawing of that width with one pair of axes of that height, and margins around them."""
    drawing = Drawing(figsize=(width / 72, (top + height + _BOTTOM) / 72), frameon=False)
    return drawing, _axes(drawing, left, _BOTTOM, width - left - right, height)


def panels(
    titles: Sequence[str], x: str, y: str, *, top: float = 0, below: float = 20, most: int = 4
) -> tuple[Drawing, list[Axes]]:
    """Make a drawing with a panel per title, at least one, in rows of `most` or fewer, with a common y axis.

    `x` and `y` are the titles of the axes, `top` is the margin above the panels, `below` the height of tick labels.
    """
    columns = len(titles) if len(titles) <= most else min(most, -(-len(titles) // 2))
    rows, gap = -(-len(titles) // columns), 16.0
    width = (WIDTH - _LEFT - 12 - gap * (columns - 1)) / columns
    wrapped = [textwrap.wrap(printable(title), int(width / LETTER), break_on_hyphens=False) for title in titles]
    head = 8 + 16.0 * max(map(len, wrapped))
    height = min(0.85 * width, 260)
    drawing = Drawing(figsize=(WIDTH / 72, (top + rows * (head + height + below) - 20 + _BOTTOM) / 72), frameon=False)
    grid: list[Axes] = []
    for number, lines in enumerate(wrapped):
        row, column = divmod(number, columns)
        bottom = _BOTTOM + below - 20 + (rows - 1 - row) * (head + height + below)
        share = {"sharey": grid[0]} if grid else {}
        axes = _axes(drawing, _LEFT + column * (width + gap), bottom, width, height, **share)
        axes.set_title("\n".join(lines))
        axes.set(xlabel=x if number + columns >= len(titles) else "", ylabel="" if column else y)
        axes.tick_params(labelleft=not column)
        grid.append(axes)
    return drawing, grid


def _axes(drawing: Drawing, left: float, bottom: float, width: float, height: float, **given: Any) -> Axes:
    across, up = drawing.get_size_inches() * 72
    axes = drawing.add_axes((left / across, bottom / up, width / across, height / up), **given)
    axes.patch.set_visible(False)
    return axes


def in_percent(*axes: Axis) -> None:
    """Label fractions in per cent, with at most six ticks."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(lambda value, _: f"{100 * value:.3g}")


def look(number: int) -> dict[str, Any]:
    """Return the colour, marker and dash of the model with that number."""
    forms = {"color": COLOURS, "marker": _MARKERS, "linestyle": _DASHES}
    return {name: choices[number % len(choices)] for name, choices in forms.items()}


def looks(labels: Sequence[str]) -> list[Line2D]:
    """Make the legend entries of models, in the order of their numbers."""
    return [Line2D([], [], label=printable(label), **look(number)) for number, label in enumerate(labels)]


def _key_columns(labels: Sequence[str]) -> int:
    return max(1, int((WIDTH - _LEFT) / (60 + LETTER * max(len(printable(label)) for label in labels))))


def key_height(labels: Sequence[str]) -> float:
    """Return the height of a legend with these labels above a plot."""
    return 17.0 * -(-len(labels) // _key_columns(labels)) + 10


def draw_key(drawing: Drawing, keys: Sequence[Line2D]) -> None:
    """Draw a legend above a plot."""
    labels = [str(key.get_label()) for key in keys]
    up = 1 - 4 / (72 * drawing.get_figheight())
    corner = (_LEFT / (72 * drawing.get_figwidth()), up)
    drawing.legend(handles=keys, loc="upper left", bbox_to_anchor=corner, ncols=_key_columns(labels))


def hatch(area: Patch) -> None:
    """Hatch an area whose scores leak."""
    area.set(facecolor="none", edgecolor=LEAK, linewidth=0, alpha=0.55, hatch="//", zorder=0)


def stacked_areas(
    axes: Axes, edges: ArrayLike, probs: NDArray[np.floating], genres: Sequence[str], order: Sequence[int]
) -> list[Patch]:
    """Draw the probability of each genre along a recording as stacked areas, and return the areas in that order.

    Args:
        axes: to draw on.
        edges: (slice + 1,) seconds at which slices start, and at which the last one stops.
        probs: (slice, genre), rows sum to 1.
        genres: names in the order of the genre axis.
        order: numbers of genres from bottom to top.
    """
    colours = genre_colours(genres)
    names = genre_labels(genres)
    areas: list[Patch] = []
    for number, (low, high) in zip(order, pairwise(_levels(probs, order)), strict=True):
        colour = colours[genres[number]]
        areas.append(axes.stairs(high, edges, baseline=low, fill=True, color=colour, label=names[number]))
    axes.set(xlim=(np.min(edges), np.max(edges)), ylim=(0, 1), xlabel="seconds", ylabel="probability")
    return areas


def name_areas(
    axes: Axes, edges: NDArray[np.float64], probs: NDArray[np.floating], genres: Sequence[str], order: Sequence[int]
) -> None:
    """Write each genre's name where its area is highest, if the name fits; arguments as in `stacked_areas`."""
    box, colours, names = axes.get_window_extent(), genre_colours(genres), genre_labels(genres)
    for number, (below, above) in zip(order, pairwise(_levels(probs, order)), strict=True):
        seconds = LETTER * len(names[number]) * (edges[-1] - edges[0]) / box.width
        span = max(1, int(np.ceil(seconds / np.diff(edges).min())))
        if span > len(probs):
            continue
        low, high = sliding_window_view(below, span).max(axis=1), sliding_window_view(above, span).min(axis=1)
        best = int(np.argmax(high - low))
        if (high - low)[best] * box.height > 16:
            middle = (edges[best] + edges[best + span]) / 2
            ink = ink_on(colours[genres[number]])
            axes.text(middle, (low + high)[best] / 2, names[number], ha="center", va="center", color=ink)


def _levels(probs: NDArray[np.floating], order: Sequence[int]) -> NDArray[np.floating]:
    """Return the lower edge of each stacked area, and the upper edge of the last, (genre + 1, slice)."""
    return np.vstack([np.zeros(len(probs)), probs[:, order].cumsum(axis=1).T])


def thinned(num: int, most: int) -> NDArray[np.int64]:
    """Choose which points of a line are drawn: at most `most`, evenly, with the first and the last.

    >>> thinned(9, 5).tolist(), thinned(2, 5).tolist()
    ([0, 2, 4, 6, 8], [0, 1])
    """
    return np.unique(np.linspace(0, num - 1, min(num, most)).round().astype(np.int64))


_AROUND = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)])
_ALIGNED: dict[int, Literal["left", "center", "right"]] = {1: "left", 0: "center", -1: "right"}


def write_beside(axes: Axes, points: NDArray[np.float64], labels: Sequence[str]) -> None:
    """Write each label beside its point, without covering other points or labels if there is room.

    All `points` (point, 2), in the units of the axes, are drawn already. `labels` are of the first ones.
    """
    axes.autoscale_view()
    within = axes.bbox.get_points()
    places = axes.transData.transform(points)
    taken = [np.stack([place - 5, place + 5]) for place in places]
    for place, label in zip(places, genre_labels(labels), strict=False):
        half = np.array([LETTER * len(label) / 2, SIZE / 2])
        steps = [(step, gap) for gap in (7, 11, 16, 26) for step in _AROUND]
        middles = [place + step * (half + gap) for step, gap in steps]
        boxes = [np.stack([middle - half, middle + half]) for middle in middles]
        shared = np.array([sum(overlap(box, other) for other in taken) - overlap(box, within) for box in boxes])
        best = int(shared.round(3).argmin())  # of equal places the nearest
        taken.append(boxes[best])
        side = int(steps[best][0][0])  # aligned to the side of its point, because its true width is not known
        x, y = middles[best] - (side * half[0], 0)
        axes.text(x, y, label, transform=None, ha=_ALIGNED[side], va="center")


def overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the area that two boxes share; each is (2, 2), its lower left and upper right corner.

    >>> overlap(np.array([[0, 0], [2, 2]]), np.array([[1, 1], [5, 3]]))
    1.0
    """
    sides = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
    return float(sides.clip(0).prod())


def finished(name: str, title: str, drawing: Drawing, alt: str, note: str = "", marks: Sequence[Mark] = ()) -> Figure:
    """Convert a drawing, made inside `styled`, to a figure; marks are in its lower left corner, and end `alt`."""
    width, height = drawing.get_size_inches() * 72
    alt = printable(alt, _LONGEST_ALT)
    if marks:
        alt = f"{alt} Marks: {', '.join(marks)}."
        drawing.text(2 / width, 5 / height, " ".join(marks), color=LEAK, weight="bold")
    sheet = io.StringIO()
    # the name is in the salt because ids must differ between the figures of a page
    with matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page's font may have it
        drawing.savefig(sheet, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    # matplotlib's own root has a fixed size, and its style sheet would hold for the whole page
    content = sheet.getvalue().partition("</style>\n </defs>")[2].strip()
    content = content.replace("xlink:href", "href").replace(INK, "currentColor")
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="100%" '
        f'style="max-width:{width:.0f}px;height:auto" fill="currentColor" stroke-linejoin="round" role="img" '
        f'aria-label="{escape(alt, {chr(34): "&quot;"})}">'
    )
    return Figure(name, title, _NO_XML.sub("\N{REPLACEMENT CHARACTER}", root + content), alt, note, tuple(marks))
