"""Draw the figures of a report, each from a table of numbers."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from genregrid.errors import counted, printable
from genregrid.exhibit import drawing as draw
from genregrid.exhibit.drawing import COLOURS, DASHED, INK, LEAK, LETTER, finished, in_percent, panels, plot, styled
from genregrid.exhibit.mark import Mark
from genregrid.exhibit.table import Figure, Form, written

_MOST_POINTS = 200  # of a line; more would not be visible
_PARTS: dict[str, dict[str, Any]] = {
    "train": {"label": "training", "color": COLOURS[1], "linestyle": "-"},
    "val": {"label": "validation", "color": COLOURS[0], "linestyle": DASHED},
}


class Caption(NamedTuple):
    """Name, title and marks of a figure, as `Figure` has them."""

    name: str
    title: str
    marks: tuple[Mark, ...] = ()


@styled
def learning_curves(caption: Caption, curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw accuracy in training and validation by epoch, a panel per model.

    `curves` has, by model, at least one: columns run, epoch, train, val (fractions).
    """
    drawing, grid = panels(list(curves), "epoch", "accuracy (%)", top=26)
    described = []
    for axes, (model, frame) in zip(grid, curves.items(), strict=True):
        by_epoch = frame.groupby("epoch")[list(_PARTS)]
        mean, spread = by_epoch.mean(), by_epoch.std().fillna(0)
        shown = mean.index[draw.thinned(len(mean), max(40, _MOST_POINTS // len(curves)))]
        for part, form in _PARTS.items():
            middle, width = mean.loc[shown, part], spread.loc[shown, part]
            axes.plot(shown, middle, **form)
            if width.any():
                axes.fill_between(shown, middle - width, middle + width, color=form["color"], alpha=0.25, linewidth=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        last = frame.sort_values("epoch", kind="stable").groupby("run")[list(_PARTS)].last().mean()
        described.append(
            f"{model} ends at {_percent(last['val'])} in validation and {_percent(last['train'])} in training "
            f"({counted(frame['epoch'].nunique(), 'epoch')}, {counted(frame['run'].nunique(), 'run')})"
        )
    in_percent(grid[0].yaxis)
    draw.draw_key(drawing, [Line2D([], [], **form) for form in _PARTS.values()])
    note = (
        "Accuracy in per cent after each epoch, of training windows and validation tracks: mean over runs, and a band "
        "of one standard deviation. Where only training accuracy rises, the model memorises its training data."
    )
    alt = f"Accuracy by epoch: {'; '.join(described)}."
    return finished(caption.name, caption.title, drawing, alt, note, caption.marks)


@styled
def accuracies(caption: Caption, frame: pd.DataFrame, references: Sequence[tuple[str, float]] = ()) -> Figure:
    """Draw accuracies with their intervals, one row each.

    `frame` has at least one row; columns label, value, low, high (fractions; an interval may be NaN), leaks (bool), and
    optionally why (text instead of an interval) and paper (NaN if unknown). `references` are labels and values
    (fractions) of dashed lines.
    """
    frame = frame.reset_index(drop=True).assign(label=frame["label"].map(printable).to_numpy())
    num, row_height, level_height = len(frame), 26.0, 17.0
    left = 16 + LETTER * max(map(len, frame["label"]))
    top = 8 + level_height * len(references)
    drawing, axes = plot(row_height * num, left=left, right=150, top=top, width=left + 520)
    for leaks, rows in frame.groupby("leaks"):
        form: dict[str, Any] = {"fmt": "s", "color": LEAK} if leaks else {"fmt": "o", "color": COLOURS[0]}
        axes.errorbar(rows["value"], rows.index, xerr=_bars(rows), **form)
        for row in rows.index if leaks else ():
            draw.hatch(axes.axhspan(row - 0.5, row + 0.5))
    if "paper" in frame:
        axes.plot(frame["paper"], frame.index, "D", color=INK, fillstyle="none", markersize=7.5)
    for number, row in frame.iterrows():
        axes.text(1.03, number, _with_interval(row), transform=axes.get_yaxis_transform(), va="center")
    _draw_references(axes, references, num - 0.5, level_height / row_height)
    axes.set(ylim=(num - 0.5, -0.5), xlabel="accuracy (%)")
    axes.set_yticks(range(num), frame["label"])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    in_percent(axes.xaxis)
    note = "Accuracy in per cent. A dot is the value; its bar is the 95 % interval."
    note += " Open diamonds are the paper's values." if "paper" in frame and frame["paper"].notna().any() else ""
    note += " In hatched rows with squares, test tracks leak into training." if frame["leaks"].any() else ""
    return finished(caption.name, caption.title, drawing, _best_of(frame), note, caption.marks)


def _draw_references(axes: Axes, references: Sequence[tuple[str, float]], bottom: float, step: float) -> None:
    """Draw dashed lines from the bottom up to their labels, which are above the axes, one step apart."""
    # a label of a larger value is higher, so that no line crosses it
    for level, (label, value) in enumerate(sorted(references, key=lambda one: one[1])):
        end = -0.5 - step * (level + 0.5)
        axes.plot([value] * 2, [bottom, end], color=INK, linewidth=1, linestyle=DASHED, clip_on=False)
        aside: dict[str, Any] = {"xytext": (-4, 0), "textcoords": "offset points", "annotation_clip": False}
        axes.annotate(label, (value, end), ha="right", va="center", **aside)


def _best_of(frame: pd.DataFrame) -> str:
    """Describe in words what `accuracies` shows."""
    described = []
    for leaks, what in ((False, "of those that do not leak"), (True, "of those that leak")):
        rows = frame[frame["leaks"].astype(bool) == leaks].dropna(subset="value")
        if len(rows):
            best = rows.loc[rows["value"].idxmax()]
            described.append(f"{what}, the best of {len(rows)} is {best['label']} at {_with_interval(best)} %")
    return f"Accuracy of {counted(len(frame), 'row')}: {'; '.join(described) or 'none is known'}."


@styled
def protocols(caption: Caption, frame: pd.DataFrame, order: Sequence[str]) -> Figure:
    """Draw the accuracy of each model under each protocol.

    `frame` has columns model, split, value, low, high (fractions; an interval may be NaN), leaks (bool); `order` are
    the protocols from left to right.
    """
    models = list(dict.fromkeys(frame["model"]))
    drawing, axes = plot(300, top=20 + draw.key_height(models))
    described = []
    for number, model in enumerate(models):
        rows = frame[frame["model"] == model].set_index("split").reindex(order)
        x = np.arange(len(order)) + (number - (len(models) - 1) / 2) * min(0.14, 0.8 / len(models))
        axes.plot(x, rows["value"], **draw.look(number) | {"marker": ""}, alpha=0.5)
        axes.errorbar(x, rows["value"], yerr=_bars(rows), **draw.look(number) | {"linestyle": "none"})
        known = (f"{_percent(value)} under {split}" for split, value in rows["value"].dropna().items())
        described.append(f"{model} {', '.join(known)}")
    leaking = set(frame.loc[frame["leaks"].astype(bool), "split"])
    for number in (number for number, split in enumerate(order) if split in leaking):
        draw.hatch(axes.axvspan(number - 0.5, number + 0.5))
    axes.set(xlim=(-0.5, len(order) - 0.5), ylabel="accuracy (%)")
    axes.set_xticks(range(len(order)), list(map(printable, order)))
    axes.grid(visible=False, axis="x")
    in_percent(axes.yaxis)
    draw.draw_key(drawing, draw.looks(models))
    note = (
        "Accuracy in per cent; bars are 95 % intervals. A steep line means that the score of a model depends on how "
        "tracks are divided."
    )
    note += " Under a hatched protocol, test tracks leak into training." if leaking else ""
    alt = f"Accuracy by protocol: {'; '.join(described)}."
    return finished(caption.name, caption.title, drawing, alt, note, caption.marks)


@styled
def certainty_against_recall(caption: Caption, frame: pd.DataFrame) -> Figure:
    """Draw the mean certainty of each genre against its recall.

    `frame` has columns genre, certainty (decades), recall (fraction), and optionally certainty_paper and recall_paper;
    a genre without tracks (NaN) is left out.
    """
    frame = frame.dropna(subset=["certainty", "recall"])
    drawing, axes = plot(400, top=30)
    ours = frame[["recall", "certainty"]].to_numpy(float)
    theirs = np.empty((0, 2))
    keys = [Line2D([], [], color=COLOURS[0], marker="o", markersize=7, linestyle="none", label="this model")]
    if "recall_paper" in frame and frame["recall_paper"].notna().any():
        theirs = frame[["recall_paper", "certainty_paper"]].to_numpy(float)
        axes.plot(*np.stack([ours, theirs]).transpose(2, 0, 1), color=INK, linewidth=0.8, alpha=0.4)
        keys += axes.plot(*theirs.T, "D", color=INK, fillstyle="none", label="the paper's, joined to ours")
        draw.draw_key(drawing, keys)
    axes.plot(*ours.T, "o", color=COLOURS[0], markersize=7)
    axes.margins(0.09)
    axes.set(xlabel="recall (%)", ylabel="certainty (decades)")
    in_percent(axes.xaxis)
    points = np.concatenate([ours, theirs[~np.isnan(theirs).any(axis=1)]])
    draw.write_beside(axes, points, list(frame["genre"]))
    described = "none is known"
    if len(frame):
        ends = frame.sort_values("certainty", kind="stable").iloc[[0, -1]].to_dict(orient="records")
        named = [f"{one['genre']} ({one['certainty']:.2f} decades, recall {_percent(one['recall'])})" for one in ends]
        described = f"least certain of {named[0]}, most certain of {named[1]}"
    note = (
        "One dot per genre: its recall in per cent, and the mean certainty of its tracks in decades. If the dots rise "
        "to the right, the model is most certain of the genres that it recognises best."
    )
    alt = f"Certainty and recall of {counted(len(frame), 'genre')}: {described}."
    return finished(caption.name, caption.title, drawing, alt, note, caption.marks)


@styled
def reliability(caption: Caption, bins: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw accuracy against confidence in bins, a panel per model.

    `bins` has, by model, at least one: columns confidence, accuracy (fractions), num (of tracks); empty bins are left
    out.
    """
    drawing, grid = panels(list(bins), "confidence (%)", "accuracy (%)")
    described = []
    for axes, (model, frame) in zip(grid, bins.items(), strict=True):
        frame = frame[frame["num"] > 0]
        confidence, accuracy = frame["confidence"], frame["accuracy"]
        share = frame["num"] / frame["num"].sum()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=DASHED)
        axes.vlines(confidence, 0, 0.3 * share / max(share, default=1), color=INK, linewidth=6, alpha=0.25)
        axes.plot(confidence, accuracy, "o-", color=COLOURS[0], markersize=4, linewidth=1.2)
        error, sure, right = ((share * one).sum() for one in ((accuracy - confidence).abs(), confidence, accuracy))
        if len(frame):
            axes.text(0, 0.88, f"ECE {100 * error:.1f}")
            described.append(f"{model} is {_percent(sure)} sure and {_percent(right)} right, ECE {100 * error:.1f}")
        axes.set(xlim=(-0.03, 1.03), ylim=(0, 1.03))
        in_percent(axes.xaxis, axes.yaxis)
        axes.set(xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    note = (
        "A dot is a bin of tracks with similar confidence (largest probability); a grey bar is their number. Below the "
        "dashed line the model is too confident, above it too cautious. ECE (expected calibration error) is the mean "
        "distance from the line over tracks, in percentage points."
    )
    alt = f"Mean confidence and accuracy: {'; '.join(described) or 'none is known'}."
    return finished(caption.name, caption.title, drawing, alt, note, caption.marks)


@styled
def risk_coverage(caption: Caption, curves: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Figure:
    """Draw the error rate on the tracks of which a model is most certain.

    `curves` has, by model, at least one: coverage, the share of tracks that are kept, ascending; and risk, the share of
    kept tracks with a wrong prediction.
    """
    drawing, axes = plot(320, top=8 + draw.key_height(list(curves)))
    described = []
    for number, (model, curve) in enumerate(curves.items()):
        coverage, risk = (np.asarray(values, float) for values in curve)
        shown = draw.thinned(len(coverage), _MOST_POINTS)
        axes.plot(coverage[shown], risk[shown], **draw.look(number), markevery=(0.02 * number, 0.15))
        half, full = (float(np.interp(share, coverage, risk)) for share in (0.5, 1))
        described.append(f"{model} {_percent(full)} of all tracks and {_percent(half)} of the more certain half")
    axes.set(xlim=(0, 1), xlabel="coverage: share of tracks kept, most certain first (%)")
    axes.set(ylim=(0, None), ylabel="risk: share of these that are wrong (%)")
    in_percent(axes.xaxis, axes.yaxis)
    draw.draw_key(drawing, draw.looks(list(curves)))
    note = (
        "If a curve falls to the left, where only the tracks with the largest certainty are kept, certainty separates "
        "right predictions from wrong ones."
    )
    alt = f"Share of wrong predictions: {'; '.join(described)}."
    return finished(caption.name, caption.title, drawing, alt, note, caption.marks)


def mutual_confusion(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the share of two genres' tracks that are predicted as the other one: s_ij = (c_ij + c_ji) / (n_i + n_j).

    c (genre, genre) are counts, true by predicted, and n its row sums. The result is (genre, genre), symmetric, in
    [0, 1], and zero on the diagonal and for two genres without tracks.

    >>> mutual_confusion(np.array([[8, 2], [4, 6]]))
    array([[0. , 0.3],
           [0.3, 0. ]])
    """
    counts = np.asarray(confusion, float)
    num = counts.sum(axis=1)
    share = (counts + counts.T) / np.maximum(num[:, None] + num, 1)
    np.fill_diagonal(share, 0)
    return np.asarray(share)


@styled
def confusion_matrix(caption: Caption, confusion: NDArray[Any], genres: Sequence[str]) -> Figure:
    """Draw a confusion matrix of counts, true genre by predicted genre, shaded by the share of the true genre.

    `confusion` is (genre, genre); `genres`, at least one, name both axes.
    """
    counts = np.asarray(confusion, float)
    num = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(num, 1)
    names = draw.genre_labels(genres)
    cell, longest = 34.0, LETTER * max(map(len, names))
    left, top = 40 + longest, 30 + longest
    drawing, axes = plot(cell * len(genres), top=top, left=left, width=left + cell * len(genres) + 12)
    edges = np.arange(len(genres) + 1) - 0.5
    shades = LinearSegmentedColormap.from_list("", [to_rgba(COLOURS[0], alpha) for alpha in (0, 0.75)])
    axes.pcolormesh(edges, edges, share, cmap=shades, vmin=0, vmax=1, edgecolor="none")
    for true, predicted in zip(*np.nonzero(counts), strict=True):
        axes.text(predicted, true, f"{counts[true, predicted]:g}", ha="center", va="center")
    axes.set(xlim=edges[[0, -1]], ylim=edges[[-1, 0]], ylabel="true genre")
    axes.set_xlabel("predicted genre")
    axes.set_xticks(range(len(genres)), names, rotation=90)
    axes.set_yticks(range(len(genres)), names)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.grid(visible=False)
    right = np.diag(counts).sum()
    alt = f"Confusion matrix of {counted(len(genres), 'genre')}: {right:g} of {counts.sum():g} tracks are right."
    note = "A row is a true genre, a column a predicted genre; a number counts test tracks, 0 is left out."
    return finished(caption.name, caption.title, drawing, alt, note, caption.marks)


@styled
def genre_tree(caption: Caption, confusion: NDArray[Any], genres: Sequence[str]) -> Figure:
    """Draw a tree that joins genres which a model often confuses.

    The similarity of two genres is their `mutual_confusion`. Groups join by average linkage, at its mean over all pairs
    of genres with one in each group. `confusion` (genre, genre) are counts, true by predicted; `genres`, at least one,
    name both axes.
    """
    share = mutual_confusion(confusion)
    top = float(share.max()) or 1.0
    names = draw.genre_labels(genres)
    drawing, axes = plot(26.0 * len(genres), left=16, right=16 + LETTER * max(map(len, names)), width=600)
    leaves, edge = [0], 1.15 * top  # beyond the largest value, so that the closest pair has a branch
    if len(genres) > 1:
        # average linkage joins the same groups for every increasing affine map of 1 - s / max s
        tree = dendrogram(linkage(squareform(edge - share, checks=False), "average"), no_plot=True)
        leaves = tree["leaves"]
        for leaf, distance in zip(tree["icoord"], tree["dcoord"], strict=True):
            axes.plot(edge - np.array(distance), (np.array(leaf) - 5) / 10, color=INK, linewidth=1.4)
    axes.set(xlim=(-0.02 * top, edge), ylim=(len(genres) - 0.5, -0.5))
    axes.set_xlabel("tracks of two genres that are predicted as the other (%)")
    axes.set_yticks(range(len(genres)), [names[number] for number in leaves])
    axes.tick_params(axis="y", length=0, labelleft=False, labelright=True)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    in_percent(axes.xaxis)
    one, other = divmod(int(share.argmax()), len(genres))
    closest = f"{genres[one]} and {genres[other]} are closest, with {_percent(share[one, other])} of their tracks"
    note = (
        "Two genres join at the share of their tracks that is predicted as the other genre, in per cent; two groups at "
        "the mean over all pairs of genres. Genres that join further right are confused more often."
    )
    alt = f"Tree of {counted(len(genres), 'genre')} by mutual confusion: "
    alt += f"{closest}." if share.any() else "none are confused."
    return finished(caption.name, caption.title, drawing, alt, note, caption.marks)


@styled
def timeline(
    caption: Caption,
    start_seconds: ArrayLike,
    stop_seconds: ArrayLike,
    probs: NDArray[np.floating],
    genres: Sequence[str],
    truth: str,
    note: str = "",
) -> Figure:
    """Draw the probability of each genre along a track, with the true genre at the bottom.

    A slice lasts from its `start_seconds` (slice,), ascending, until the next one starts; `stop_seconds` ends the last.
    Rows of `probs` (slice, genre) sum to 1. `truth` is the true genre; `note` is more for a reader to know.
    """
    edges = np.append(np.asarray(start_seconds, float), np.asarray(stop_seconds, float)[-1])
    true = list(genres).index(truth)
    mean = np.average(probs, axis=0, weights=np.diff(edges))
    order = [true, *(number for number in np.argsort(-mean, kind="stable").tolist() if number != true)]
    names = draw.genre_labels(genres)
    drawing, axes = plot(220, right=40 + LETTER * (max(map(len, names)) + 7))
    areas = draw.stacked_areas(axes, edges, probs, genres, order)
    labels = [names[number] for number in order]
    labels[0] += " (true)"
    axes.legend(areas[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.02, 1), handlelength=1.2)
    draw.name_areas(axes, edges, probs, genres, order)
    axes.stairs(probs[:, true], edges, baseline=None, color=INK, linewidth=1.5)
    axes.grid(visible=False)
    best = int(mean.argmax())
    alt = (
        f"Over {edges[-1] - edges[0]:g} seconds the true genre {truth} has a mean probability of "
        f"{_percent(mean[true])}; the most probable is {genres[best]} with {_percent(mean[best])}."
    )
    note = " ".join(filter(None, ("The line is the probability of the true genre, from 0 to 1.", note)))
    return finished(caption.name, caption.title, drawing, alt, note, caption.marks)


@styled
def heat(
    caption: Caption,
    frame: pd.DataFrame,
    rows: Sequence[str],
    columns: Sequence[str],
    form: Form,
    note: str = "",
    *,
    apart: Sequence[str] = (),
) -> Figure:
    """Draw a matrix of signed numbers, each written in a cell that is shaded by its size.

    `frame` has columns row, column, value, low, high; a value or an interval may be NaN. `rows` and `columns`, at least
    one each, are in order. Those named in `apart` are sums or means of others: they have a gap before them, and do not
    count for the shades.
    """
    width, height = 52.0, 23.0
    names = draw.genre_labels(columns)
    left, top = 14 + LETTER * max(map(len, rows)), 16 + 0.72 * LETTER * max(map(len, names))
    x, y = _spaced(columns, apart), _spaced(rows, apart)
    across, up = width * (x[-1] + 1), height * (y[-1] + 1)
    drawing, axes = plot(up, left=left, right=60, top=top, width=left + across + 60)
    known = frame.dropna(subset="value")
    largest = known.loc[~(known["row"].isin(apart) | known["column"].isin(apart)), "value"].abs().max()
    x_of, y_of = dict(zip(columns, x, strict=True)), dict(zip(rows, y, strict=True))
    for one in known.itertuples():
        place = x_of[one.column], y_of[one.row]
        share = min(1.0, abs(one.value) / largest) if largest > 0 else 0.0
        colour = COLOURS[0] if one.value > 0 else COLOURS[1]
        axes.add_patch(Rectangle(place, 0.96, 0.94, facecolor=colour, alpha=0.6 * share, linewidth=0))
        is_clear = one.low > 0 or one.high < 0
        text = written(one.value, form).lstrip("+")
        middle = (place[0] + 0.48, place[1] + 0.5)
        axes.text(*middle, text, ha="center", va="center", weight="bold" if is_clear else "normal")
    for start, name in zip(x, names, strict=True):
        axes.text(start + 0.4, -0.25, name, rotation=45, rotation_mode="anchor", ha="left", va="bottom")
    axes.set(xlim=(0, x[-1] + 1), ylim=(y[-1] + 1, 0))
    axes.set_yticks([place + 0.5 for place in y], list(map(printable, rows)))
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    highest = known.sort_values("value", ascending=False, kind="stable").drop_duplicates("column")
    described = (f"{one.column}: {one.row} {written(one.value, form)}" for one in highest.itertuples())
    note = f"{note} Bold: the 95 % interval leaves out 0. Blue is above 0, orange below.".strip()
    alt = f"{caption.title}. The largest number of each column: {', '.join(described) or 'none is known'}."
    return finished(caption.name, caption.title, drawing, alt, note, caption.marks)


def _spaced(names: Sequence[str], apart: Sequence[str]) -> list[float]:
    """Return positions 0, 1, ... with a gap where those that are `apart` begin or end."""
    gaps = [0.0, *(0.25 * ((one in apart) != (other in apart)) for one, other in pairwise(names))]
    return [number + gap for number, gap in enumerate(np.cumsum(gaps).tolist())]


def _bars(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Return (2, row), the lengths of intervals below and above their values; NaN if there is no interval."""
    return np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]]).clip(0)


def _percent(value: float) -> str:
    return "an unknown share" if np.isnan(value) else f"{written(value, 'percent')} %"


def _with_interval(row: pd.Series) -> str:
    """Write value and interval in per cent, or why there is none, without what is missing."""
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    if np.isnan(value):
        return ""
    beside = row.get("why", "") if np.isnan(low + high) else f"{written(low, 'percent')} to {written(high, 'percent')}"
    return written(value, "percent") + (f" ({beside})" if beside else "")
