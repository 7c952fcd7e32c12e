"""Images with class labels: npz files, an embedded set, and the archives of usual benchmarks as they are published.

Nothing is unpickled and nothing is extracted to disk; every file is read once.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from molaugerino.datasets.image_sets import IGNORED, ImageSet
from molaugerino.datasets.sources import data_path
from molaugerino.errors import UserError
from molaugerino.files import sha256

Part = tuple[np.ndarray, np.ndarray]  # images (n, channels, height, width) and their labels

EMBEDDED = "digits"
LIMIT = 2**28  # bytes that one file of an archive may unpack to; the largest one read, of STL-10, has 2.2e8
UNNAMED = 1000  # classes that an npz file may number and not name
TEN = tuple("0123456789")
MNIST_NPZ = {"training": "mnist_train.npz", "test": "mnist_test.npz"}
OF_TEN = (f"{EMBEDDED}.npz", *MNIST_NPZ.values())
IDX = {
    "training": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
IDX_FILES = {file + suffix for pair in IDX.values() for file in pair for suffix in ("", ".gz")}
RECORDS = {  # the files of a set that keeps its images as records of bytes; the last one names the classes
    "CIFAR-10": (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin", "batches.meta.txt"),
    "CIFAR-100": ("train.bin", "test.bin", "fine_label_names.txt"),
    "STL-10": ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt"),
}
RECORD_FILES = {file for files in RECORDS.values() for file in files}
PICKLES = {"batches.meta", "data_batch_1", "meta"}  # in the Python version of CIFAR
CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
ACCEPTED = (
    f"{EMBEDDED}, an .npz file with `images` and `labels`, cifar-10-binary.tar.gz, cifar-100-binary.tar.gz, "
    "stl10_binary.tar.gz or the folder it unpacks to, or a folder with the files of MNIST or CamVid"
)


def open_images(source: str | Path) -> ImageSet:
    """A set of images by the name `digits`, or by the path of a file or folder, whose content says of which kind it is.

    Read are: the idx files of MNIST, raw or .gz, one pair or both; mnist_train.npz and mnist_test.npz; any .npz with
    `images` (n, h, w) or (n, channels, h, w) uint8, `labels`, and if wanted `classes`; the binary versions of CIFAR-10,
    CIFAR-100 (fine labels) and STL-10 (without its unlabelled images), as .tar.gz or unpacked; and the CamVid folder
    of the SegNet tutorial, whose training part is train and val.

    Args:
        source: "digits" as text is the embedded set; a `Path` is always a path.

    Raises:
        UserError: where there is nothing, or it is damaged, incomplete or contradicts itself.

    >>> open_images("digits").images.shape
    (1797, 1, 8, 8)
    """
    path = data_path(EMBEDDED) if source == EMBEDDED else Path(source)
    if os.path.isdir(path):
        return _open_folder(path)
    if not os.path.isfile(path):
        raise UserError(f"no images at {str(source)!r}; give {ACCEPTED}")
    if path.name.endswith((".tar.gz", ".tgz")):
        return _open_archive(path)
    if path.suffix == ".npz":
        return _open_npz(path)
    raise UserError(f"{path} is of no kind that is read here; give {ACCEPTED}")


@contextmanager
def _readable(place: Path, kind: str) -> Iterator[None]:
    """What a library raises inside, as one sentence; what these readers raise passes."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # parsers of damaged bytes raise whatever they come upon
        why = str(error) or type(error).__name__
        raise UserError(f"{place} is not a readable {kind} ({why}); it may be truncated: get it again") from None


def _joined(place: Path, checksum: str, parts: Mapping[str, Part], classes: tuple[str, ...]) -> ImageSet:
    """The parts one after the other, those of images and labels that agree."""
    for part, (images, labels) in parts.items():
        if len(images) != len(labels) or len(images) == 0:
            raise UserError(
                f"{place}: the {part} part has {len(images)} images and {len(labels)} labels, expected as many, one at "
                "least; get its files again"
            )
    shapes = [f"{images.shape[1:]} with labels {labels.shape[1:]}" for images, labels in parts.values()]
    if len(set(shapes)) > 1:
        raise UserError(f"{place}: images of shape {' and '.join(shapes)} make no set; give parts of one shape")
    labels = np.concatenate([labels for _, labels in parts.values()])
    return ImageSet(
        name=re.sub(r"\.(npz|tar\.gz|tgz)$", "", place.resolve().name),
        checksum=checksum,
        images=np.ascontiguousarray(np.concatenate([images for images, _ in parts.values()])),
        labels=labels.astype(np.int64) if labels.dtype.kind in "iu" else labels,
        classes=classes,
        trained=len(parts["training"][0]) if len(parts) == 2 else None,
    )


def _listed(path: Path) -> list[str]:
    with _readable(path, "folder"):
        return os.listdir(path) if os.path.isdir(path) else []


@dataclass
class _Folder:
    """Files of a folder, each read once, and the checksum of what was read."""

    path: Path
    sums: dict[str, str] = field(default_factory=dict)

    def read(self, name: str) -> bytes:
        with _readable(self.path / name, "file"):
            content = (self.path / name).read_bytes()
        self.sums[name] = sha256(content)
        return content

    @property
    def checksum(self) -> str:
        return sha256("".join(f"{self.sums[name]}  {name}\n" for name in sorted(self.sums)).encode())


def _open_folder(path: Path) -> ImageSet:
    folder, names, classes = _Folder(path), set(_listed(path)), TEN
    if names & RECORD_FILES:
        parts, classes = _records({name: folder.read(name) for name in sorted(names & RECORD_FILES)}, path)
    elif names & IDX_FILES:
        parts = _idx_parts(folder, names)
    elif names & set(MNIST_NPZ.values()):
        parts = {part: _npz(folder.read(file), path / file)[0] for part, file in MNIST_NPZ.items() if file in names}
    elif any(name.endswith("annot") for name in names) or os.path.isdir(path / "train"):
        parts, classes = _camvid_parts(folder), CAMVID
    else:
        raise _unknown(path, names)
    return _joined(path, folder.checksum, parts, classes)


def _unknown(path: Path, names: set[str]) -> UserError:
    if names & PICKLES:
        return UserError(
            f"{path} is the Python version of CIFAR, made of pickles, which can run any code and are not read; get the "
            "binary version, cifar-10-binary.tar.gz or cifar-100-binary.tar.gz"
        )
    return UserError(f"{path} holds no images of a kind that is read here; give {ACCEPTED}")


def _open_npz(path: Path) -> ImageSet:
    with _readable(path, "file"):
        content = path.read_bytes()
    part, classes = _npz(content, path)
    return _joined(path, sha256(content), {"only": part}, TEN if path.name in OF_TEN else classes)


def _npz(content: bytes, place: Path) -> tuple[Part, tuple[str, ...]]:
    """Images, labels, and the names of the classes, their numbers where the file names none."""
    with _readable(place, ".npz archive of plain arrays"):
        if not content.startswith(b"PK"):
            raise zipfile.BadZipFile("no zip file")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            keys = [key for key in ("images", "labels", "classes") if key in archive.files]
            arrays = {key: np.atleast_1d(archive[key]) for key in keys}
    missing = [key for key in ("images", "labels") if key not in arrays]
    if missing:
        raise UserError(f"{place} lacks {' and '.join(missing)}; an archive of images needs `images` and `labels`")
    images, labels, names = arrays["images"], arrays["labels"], arrays.get("classes")
    top = labels.max(initial=0) if labels.dtype.kind in "iu" else 0
    if names is None and top >= UNNAMED:
        raise UserError(f"{place}: `labels` go up to {top}, and {UNNAMED} classes or more need names; add `classes`")
    if names is not None and (names.dtype.kind != "U" or names.ndim != 1):
        raise UserError(f"{place}: `classes` must be a list of texts, got {names.dtype}; name each class")
    classes = tuple(map(str, range(top + 1) if names is None else names))
    return (images[:, None] if images.ndim == 3 else images, labels), classes


def _idx_parts(folder: _Folder, names: set[str]) -> dict[str, Part]:
    parts = {}
    for part, files in IDX.items():
        images, labels = (next((name for name in (file, f"{file}.gz") if name in names), None) for file in files)
        if images and labels:
            parts[part] = (_idx(folder, images, 3)[:, None], _idx(folder, labels, 1))
        elif images or labels:
            missing = files[1] if images else files[0]
            raise UserError(f"{folder.path} holds {images or labels} without {missing}; get that file, too")
    return parts


def _idx(folder: _Folder, name: str, dimensions: int) -> np.ndarray:
    """The bytes after a head of 0, 0, 8 (for bytes), the number of dimensions, and four bytes each with their sizes."""
    place, content = folder.path / name, folder.read(name)
    if name.endswith(".gz"):
        with _readable(place, "gzip file"), gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            content = file.read(LIMIT + 1)
        if len(content) > LIMIT:
            raise UserError(f"{place} unpacks to more than {LIMIT >> 20} MiB, too much for MNIST; get it again")
    magic = bytes((0, 0, 8, dimensions))
    if content[:4] != magic:
        raise UserError(
            f"{place} begins with the bytes {content[:4].hex()}, expected {magic.hex()} for {dimensions} dimension(s) "
            "of bytes; it is another file, or damaged: get it again"
        )
    head = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(content[k : k + 4], "big") for k in range(4, head, 4))
    if len(content) != head + math.prod(shape):
        raise UserError(
            f"{place} has {len(content)} bytes, expected {head + math.prod(shape)} for the shape {shape} that it "
            "states; get it again"
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


class _Hashing(io.RawIOBase):
    """A file whose sha256 is taken as it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        self.digest.update(data)
        return len(data)


def _open_archive(path: Path) -> ImageSet:
    """Of a .tar.gz the members that `RECORDS` lists, and its checksum, in one pass."""
    contents: dict[str, bytes] = {}
    names: set[str] = set()
    with _readable(path, ".tar.gz archive"), path.open("rb") as file:
        hashing = _Hashing(file)
        with gzip.GzipFile(fileobj=hashing) as plain:
            with tarfile.open(fileobj=plain, mode="r|") as archive:
                for member in archive:
                    inside = PurePosixPath(member.name)
                    if inside.is_absolute() or ".." in inside.parts:
                        raise UserError(f"{path} names a file outside of it, {member.name!r}; get it from its authors")
                    if inside.name in contents:
                        raise UserError(f"{path} holds {inside.name} twice; get it from its authors")
                    if inside.name in RECORD_FILES:
                        contents[inside.name] = _member(archive, member, path)
                    names.add(inside.name)
            while plain.read(2**20):  # to the end, where gzip compares its checksum and ours is complete
                pass
    if not contents:
        raise _unknown(path, names)
    parts, classes = _records(contents, path)
    return _joined(path, hashing.digest.hexdigest(), parts, classes)


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes:
    file = archive.extractfile(member) if member.isreg() else None
    if file is None or member.size > LIMIT:
        raise UserError(
            f"{path}: {member.name} must be a plain file of at most {LIMIT >> 20} MiB; get the archive again"
        )
    return file.read()


def _records(contents: Mapping[str, bytes], place: Path) -> tuple[dict[str, Part], tuple[str, ...]]:
    """The parts and the classes of the set that these files belong to."""
    kind, files = next((kind, files) for kind, files in RECORDS.items() if contents.keys() & set(files))
    missing = [file for file in files if file not in contents]
    if missing:
        raise UserError(f"{place} lacks {', '.join(missing)}, files of {kind}; get it again")
    with _readable(place / files[-1], "list of names"):
        classes = tuple(line.strip() for line in contents[files[-1]].decode().splitlines() if line.strip())
    if kind == "STL-10":
        return {
            part: _stl(contents[f"{stem}_X.bin"], contents[f"{stem}_y.bin"], place / stem, len(classes))
            for part, stem in (("training", "train"), ("test", "test"))
        }, classes
    read = [_cifar(contents[file], 2 if kind == "CIFAR-100" else 1, place / file) for file in files[:-1]]
    images, labels = (np.concatenate(arrays) for arrays in zip(*read[:-1], strict=True))
    return {"training": (images, labels), "test": read[-1]}, classes


def _cifar(content: bytes, labels: int, place: Path) -> Part:
    """Records of some label bytes, the last of them the finest, and 3 x 32 x 32 pixels."""
    records = _rows(content, labels + 3 * 32 * 32, place)
    return records[:, labels:].reshape(-1, 3, 32, 32), records[:, labels - 1]


def _stl(images: bytes, labels: bytes, place: Path, classes: int) -> Part:
    """Images of 3 channels x 96 columns x 96 rows, and labels from 1 on."""
    pixels = _rows(images, 3 * 96 * 96, place.with_name(f"{place.name}_X.bin")).reshape(-1, 3, 96, 96)
    numbers = np.frombuffer(labels, np.uint8).astype(np.int64)
    wrong = numbers[(numbers < 1) | (numbers > classes)]
    if len(wrong):
        raise UserError(f"{place}_y.bin: labels must lie in 1..{classes}, got {wrong[0]}; get it again")
    return pixels.swapaxes(2, 3), numbers - 1


def _rows(content: bytes, size: int, place: Path) -> np.ndarray:
    if not content or len(content) % size:
        raise UserError(f"{place} has {len(content)} bytes, expected {size} for each image; get it again")
    return np.frombuffer(content, np.uint8).reshape(-1, size)


def _camvid_parts(folder: _Folder) -> dict[str, Part]:
    parts = {}
    for part, names in (("training", ("train", "val")), ("test", ("test",))):
        images: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        for file, annotation in (pair for name in names for pair in _camvid_files(folder, name)):
            images.append(_png(folder, file, ("RGB",)))
            labels.append(_png(folder, annotation, ("L", "P")))
            for place, pixels in ((file, images[-1]), (annotation, labels[-1])):
                if pixels.shape[:2] != images[0].shape[:2]:
                    raise UserError(
                        f"{folder.path / place} has the shape {pixels.shape[:2]}, expected that of the first "
                        f"image, {images[0].shape[:2]}; bring all to one size"
                    )
            if labels[-1].max() > len(CAMVID):
                raise UserError(
                    f"{folder.path / annotation} holds the label {labels[-1].max()}, expected 0..{len(CAMVID)}; give "
                    f"the version of CamVid with {len(CAMVID)} classes"
                )
        if images:
            numbers = np.stack(labels).astype(np.int16)
            numbers[numbers == len(CAMVID)] = IGNORED
            parts[part] = (np.stack(images).transpose(0, 3, 1, 2), numbers)
    return parts


def _camvid_files(folder: _Folder, name: str) -> list[tuple[str, str]]:
    """Images and label images of a part, by their names inside the folder; none where it has no such part."""
    sides = f"{name}/", f"{name}annot/"
    there = [{f for f in _listed(folder.path / side) if f.lower().endswith(".png")} for side in sides]
    alone = sorted(there[0] ^ there[1])
    if alone:
        raise UserError(
            f"{folder.path}: {alone[0]} is in one of {' and '.join(sides)}, expected in both; get the other"
        )
    if name == "train" and not there[0]:
        raise UserError(f"{folder.path} has no PNG images in train/ and trainannot/; put those of CamVid there")
    return [(sides[0] + file, sides[1] + file) for file in sorted(there[0])]


def _png(folder: _Folder, name: str, modes: tuple[str, ...]) -> np.ndarray:
    from PIL import Image

    place, content = folder.path / name, folder.read(name)
    with _readable(place, "PNG image"), Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        mode, pixels = image.mode, np.asarray(image)
    if mode not in modes:
        raise UserError(f"{place} has the colour mode {mode}, expected {' or '.join(modes)}; convert it")
    return pixels
