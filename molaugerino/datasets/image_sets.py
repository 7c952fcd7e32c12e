"""Images with labels of classes, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from molaugerino.errors import UserError

IGNORED = -100  # label of a pixel that has no class, the one that torch's cross entropy leaves out


@dataclass(frozen=True)
class ImageSet:
    """n labelled images of one size.

    Attributes:
        name: of the source, without its suffix.
        checksum: sha256 of the file; of several files that of the text which `sha256sum` prints of them, by name.
        images: (n, channels, height, width) uint8.
        labels: (n,) int64 class numbers, or (n, height, width) with one per pixel, -100 where it has no class.
        classes: names of the classes.
        trained: rows before this one are the source's own training part, the rest its test part; None where it has no
            two parts.

    Raises:
        UserError: naming what does not fit.
    """

    name: str
    checksum: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    trained: int | None

    def __post_init__(self) -> None:
        images, labels, k = self.images, self.labels, len(self.classes)
        if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
            raise UserError(
                f"{self.name}: `images` must be uint8 of shape (n, channels, height, width), none of them zero, got "
                f"{images.dtype} of shape {images.shape}; convert them, as by (255 * x).round().astype('uint8')"
            )
        n, _, height, width = images.shape
        if labels.dtype != np.int64 or labels.shape not in ((n,), (n, height, width)):
            raise UserError(
                f"{self.name}: `labels` must be int64 of shape ({n},), or ({n}, {height}, {width}) with one per pixel, "
                f"got {labels.dtype} of shape {labels.shape}; give every image its own"
            )
        wrong = (labels < 0) | (labels >= k)
        if labels.ndim == 3:
            wrong &= labels != IGNORED
        if k == 0 or wrong.any():
            got = f"the label {labels[wrong][0]}" if wrong.any() else "none"
            raise UserError(
                f"{self.name}: `labels` must number the {k} `classes` from 0 on (and be {IGNORED} at pixels that have "
                f"none), got {got}; correct them, or name all classes"
            )
        if self.trained is not None and not 0 < self.trained < n:
            raise UserError(
                f"{self.name}: `trained` must leave rows to both parts, 1..{n - 1}, got {self.trained}; give None for "
                "no parts"
            )

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, rows: np.ndarray) -> ImageSet:
        """These images, in this order; they keep the two parts if all training rows come first and both have some."""
        rows = np.arange(len(self))[rows]
        trained = None
        if self.trained is not None:
            own = rows < self.trained
            count = int(own.sum())
            trained = count if 0 < count < len(rows) and own[:count].all() else None
        return replace(self, images=self.images[rows], labels=self.labels[rows], trained=trained)
