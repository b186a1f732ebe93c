"""A comparison of estimators as a picture: variance against time, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from scg.export.drawing import FONTS, Drawing, new_figure
from scg.export.painter import NAME, QUIET, SMALL

WIDTH, HEIGHT = 6.4, 4.4  # inches
UNBIASED, BIASED = "#2f6db5", "#c5372c"


class ComparisonPicture(Drawing):
    """A point for each strategy; those on one grey line are equally good.

    Parameters
    ----------
    title : str
    found : sequence of `scg.comparison.Compared`
    """

    def __init__(self, title: str, found: Sequence[Any]):
        figure, whole = new_figure(WIDTH, HEIGHT)
        whole.remove()
        axes = figure.add_axes((0.15, 0.13, 0.81, 0.76))
        seen = [c for c in found if not c.exact]
        exact = [c for c in found if c.exact]
        x = np.array([1e6 * c.seconds for c in seen] or [1.0])
        y = np.array([c.total_variance for c in seen] or [1.0])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(x.min() / 2.0, x.max() * 4.0)
        axes.set_ylim(y.min() / 3.0, y.max() * 3.0)
        ends = np.array(axes.get_xlim())
        for product in 10.0 ** np.arange(np.floor(np.log10((x * y).min())) - 2, np.ceil(np.log10((x * y).max())) + 3):
            axes.plot(ends, product / ends, color=QUIET, lw=0.5, zorder=1)
        points = axes.transData.transform(np.column_stack([x, y])) * 72.0 / figure.dpi
        for c, at, height, up in zip(seen, x, y, _apart(points)):
            axes.plot([at], [height], "o" if c.unbiased else "s", color=UNBIASED if c.unbiased else BIASED, zorder=3)
            axes.annotate(c.label, (at, height), (9, up), textcoords="offset points", va="center", fontsize=SMALL,
                          family=FONTS, parse_math=False,
                          arrowprops={"arrowstyle": "-", "lw": 0.4, "color": QUIET, "shrinkA": 0, "shrinkB": 2})
        axes.set_xlabel("µs a sample", fontsize=NAME, family=FONTS)
        axes.set_ylabel("variance of a sample, all elements", fontsize=NAME, family=FONTS)
        axes.tick_params(labelsize=SMALL)
        beside = f"; without variance: {', '.join(c.label for c in exact)}" if exact else ""
        axes.set_title(f"{title}\ncircles: unbiased, squares: biased; on a grey line variance × time is equal{beside}",
                       fontsize=SMALL, family=FONTS, parse_math=False)
        super().__init__(figure)


def _apart(points: np.ndarray) -> np.ndarray:
    """By how much each label goes up from its point, so that no two on one another's height overlap; all in points."""
    gap = 1.3 * SMALL
    height = points[:, 1].copy()
    order = np.argsort(height)
    for before, after in pairwise(order):
        height[after] = max(height[after], height[before] + gap)
    middle = np.mean(height - points[:, 1])
    return height - points[:, 1] - middle
