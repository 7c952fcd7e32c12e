"""Make digits.npz from the copy of the digits that scikit-learn carries.

    python data/digits/prepare.py [--out data/digits/digits.npz]

Needs scikit-learn. The original counts of 0 to 16 become round(255 / 16 * count).
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

BRIGHTEST = 16  # of the source: pixels that are set among the 4 x 4 that one was counted from


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "digits.npz", help="archive to write")
    options = parser.parse_args()
    source = load_digits()
    images = np.rint(source.images * 255 / BRIGHTEST).astype(np.uint8)
    np.savez_compressed(options.out, images=images, labels=source.target.astype(np.uint8))
    print(images.shape, hashlib.sha256(options.out.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
