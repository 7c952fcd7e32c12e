"""Archives of images as they are published, the embedded digits, and what is said where one of them is wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from molaugerino.datasets import data_path, images
from molaugerino.datasets.image_sets import IGNORED, ImageSet
from molaugerino.datasets.images import CAMVID, open_images
from molaugerino.errors import UserError

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def a_set(**changes):
    form = {
        "name": "a",
        "checksum": "0",
        "images": np.arange(5 * 3 * 4 * 6).reshape(5, 3, 4, 6).astype(np.uint8),
        "labels": np.array([0, 1, 2, 1, 0]),
        "classes": ("x", "y", "z"),
        "trained": 3,
    }
    return ImageSet(**(form | changes))


class TestImageSet:
    def test_subset(self):
        full = a_set()
        part = full.subset(np.array([1, 4, 3]))
        assert (len(full), len(part), part.trained) == (5, 3, 1)
        assert np.array_equal(part.images, full.images[[1, 4, 3]])
        assert part.labels.tolist() == [1, 0, 1]
        assert (part.name, part.checksum, part.classes) == ("a", "0", ("x", "y", "z"))

    @pytest.mark.parametrize(
        ("rows", "trained"), [([0, 2, 3], 2), ([2, 0, 1, 4], 3), ([0, 3, 1], None), ([0, 1], None), ([4, 3], None)]
    )
    def test_parts_of_a_subset(self, rows, trained):
        assert a_set().subset(np.array(rows)).trained == trained
        assert a_set(trained=None).subset(np.array(rows)).trained is None

    def test_a_mask_and_pixel_labels(self):
        labels = np.zeros((5, 4, 6), np.int64)
        labels[1, 2, 3] = IGNORED
        part = a_set(labels=labels).subset(np.array([False, True, True, False, True]))
        assert (part.labels.shape, part.trained) == ((3, 4, 6), 2)
        assert part.labels[0, 2, 3] == -100

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"images": np.zeros((5, 3, 4, 6))}, "a: `images` must be uint8 .* got float64 of shape"),
            ({"images": np.zeros((5, 4, 6), np.uint8)}, r"none of them zero, got uint8 of shape \(5, 4, 6\)"),
            ({"images": np.zeros((0, 3, 4, 6), np.uint8)}, "none of them zero"),
            ({"labels": np.zeros(5, np.int32)}, r"`labels` must be int64 of shape \(5,\), or .* got int32"),
            ({"labels": np.zeros(4, np.int64)}, r"got int64 of shape \(4,\); give every image its own"),
            ({"labels": np.zeros((5, 6, 4), np.int64)}, r"or \(5, 4, 6\) with one per pixel, got .* \(5, 6, 4\)"),
            ({"labels": np.array([0, 1, 3, 1, 0])}, "must number the 3 `classes` from 0 on .* got the label 3"),
            ({"labels": np.array([0, 1, -1, 1, 0])}, "got the label -1"),
            ({"labels": np.array([0, 1, IGNORED, 1, 0])}, "got the label -100"),
            ({"labels": np.full((5, 4, 6), -99)}, "got the label -99"),
            ({"labels": np.full((5, 4, 6), IGNORED), "classes": ()}, "the 0 `classes` .* got none"),
            ({"trained": 0}, r"`trained` must leave rows to both parts, 1\.\.4, got 0"),
            ({"trained": 5}, "got 5; give None"),
        ],
    )
    def test_what_does_not_fit(self, changes, message):
        with pytest.raises(UserError, match=message):
            a_set(**changes)


class TestDigits:
    def test_content(self):
        digits = open_images("digits")
        assert digits.images.shape == (1797, 1, 8, 8)
        assert digits.classes == tuple("0123456789")
        assert (digits.name, digits.trained) == ("digits", None)
        assert digits.labels[:10].tolist() == list(range(10))
        assert np.bincount(digits.labels).min() > 170
        assert (digits.images.min(), digits.images.max()) == (0, 255)
        assert set(np.unique(digits.images)) == {round(255 * k / 16) for k in range(17)}
        zero = digits.images[0, 0]
        assert zero[2:6, 3:5].mean() < 40 < 150 < zero[2:6, 2].mean()  # a hole, and the stroke left of it

    def test_what_its_readme_says(self):
        path = data_path("digits")
        text = (path.parent / "README.md").read_text()
        assert open_images("digits").checksum == hashlib.sha256(path.read_bytes()).hexdigest()
        assert f"`{open_images('digits').checksum}`" in text
        assert f"{path.stat().st_size:,} bytes" in text


def idx(array):
    head = bytes((0, 0, 8, array.ndim)) + b"".join(int(size).to_bytes(4, "big") for size in array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_mnist(folder, parts=("train", "t10k"), pack=False):
    """Returns the images and labels of each part."""
    content = {"train": (pixels(5, 4, 3), np.array([3, 1, 9, 0, 2])), "t10k": (pixels(2, 4, 3), np.array([7, 7]))}
    for part in parts:
        for kind, array in zip(("images-idx3", "labels-idx1"), content[part], strict=True):
            data = gzip.compress(idx(array)) if pack else idx(array)
            (folder / f"{part}-{kind}-ubyte{'.gz' if pack else ''}").write_bytes(data)
    return content


class TestMnist:
    @pytest.mark.parametrize("pack", [False, True])
    def test_both_parts(self, tmp_path, pack):
        content = write_mnist(tmp_path, pack=pack)
        found = open_images(tmp_path)
        assert np.array_equal(found.images[:, 0], np.concatenate([content["train"][0], content["t10k"][0]]))
        assert found.labels.tolist() == [3, 1, 9, 0, 2, 7, 7]
        assert (found.labels.dtype, found.trained, found.name) == (np.int64, 5, tmp_path.name)
        assert found.classes == tuple("0123456789")
        assert found.images.flags.writeable

    @pytest.mark.parametrize("part", ["train", "t10k"])
    def test_one_part(self, tmp_path, part):
        content = write_mnist(tmp_path, (part,))
        found = open_images(tmp_path)
        assert np.array_equal(found.images[:, 0], content[part][0])
        assert np.array_equal(found.labels, content[part][1])
        assert found.trained is None

    def test_checksum_is_that_of_sha256sum(self, tmp_path):
        write_mnist(tmp_path)
        (tmp_path / "notes.txt").write_text("not read")
        files = sorted(path.name for path in tmp_path.glob("*-ubyte"))
        listed = subprocess.run(["sha256sum", *files], cwd=tmp_path, capture_output=True, check=True).stdout
        assert open_images(tmp_path).checksum == hashlib.sha256(listed).hexdigest()

    def test_every_file_is_read_once(self, tmp_path, monkeypatch):
        write_mnist(tmp_path)
        read = []
        whole = images.Path.read_bytes
        monkeypatch.setattr(images.Path, "read_bytes", lambda path: read.append(path.name) or whole(path))
        open_images(tmp_path)
        assert len(read) == len(set(read)) == 4

    @pytest.mark.parametrize(
        ("file", "change", "message"),
        [
            ("train-labels-idx1-ubyte", None, "holds train-images-idx3-ubyte without train-labels-idx1-ubyte"),
            ("t10k-images-idx3-ubyte", None, "holds t10k-labels-idx1-ubyte without t10k-images-idx3-ubyte"),
            ("train-images-idx3-ubyte", lambda b: b[:-1], r"has 75 bytes, expected 76 for the shape \(5, 4, 3\)"),
            ("train-images-idx3-ubyte", lambda b: b + b"0", "has 77 bytes, expected 76"),
            ("train-images-idx3-ubyte", lambda b: b[:7], "has 7 bytes, expected"),
            ("train-images-idx3-ubyte", lambda b: b"", "begins with the bytes , expected 00000803"),
            ("train-images-idx3-ubyte", lambda b: b[:2] + b"\x0d" + b[3:], "begins with the bytes 00000d03, expected"),
            ("t10k-labels-idx1-ubyte", lambda b: b"\0\0\x08\x03" + b[4:], "expected 00000801 for 1 dimension"),
            ("t10k-labels-idx1-ubyte", lambda b: idx(np.arange(3)), "the test part has 2 images and 3 labels"),
            ("t10k-labels-idx1-ubyte", lambda b: idx(np.array([1, 10])), "must number the 10 .* got the label 10"),
            ("t10k-images-idx3-ubyte", lambda b: idx(pixels(2, 3, 4)), r"\(1, 4, 3\) with .* and \(1, 3, 4\) with"),
        ],
    )
    def test_damage(self, tmp_path, file, change, message):
        write_mnist(tmp_path)
        path = tmp_path / file
        path.unlink() if change is None else path.write_bytes(change(path.read_bytes()))
        with pytest.raises(UserError, match=message):
            open_images(tmp_path)

    def test_an_empty_part(self, tmp_path):
        (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(pixels(0, 4, 4)))
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(pixels(0)))
        with pytest.raises(UserError, match=r"the training part has 0 images and 0 labels, expected .* one at least"):
            open_images(tmp_path)

    def test_gzip(self, tmp_path, monkeypatch):
        write_mnist(tmp_path, pack=True)
        path = tmp_path / "train-images-idx3-ubyte.gz"
        whole = path.read_bytes()
        flipped = whole[:-6] + bytes((whole[-6] ^ 1,)) + whole[-5:]  # in the checksum
        for damaged in (whole[:-9], b"text", flipped):
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz is not a readable gzip file \(.*\)"):
                open_images(tmp_path)
        path.write_bytes(whole)
        monkeypatch.setattr(images, "LIMIT", 75)
        with pytest.raises(UserError, match=r"ubyte.gz unpacks to more than"):
            open_images(tmp_path)


class TestNpz:
    def write(self, path, **arrays):
        np.savez_compressed(path, **arrays)
        return path

    def test_mnist_folder(self, tmp_path):
        train, test = pixels(4, 28, 28), pixels(3, 28, 28)
        for name, array in (("mnist_train", train), ("mnist_test", test)):
            n = len(array)
            self.write(tmp_path / f"{name}.npz", images=array, labels=np.arange(n, dtype=np.uint8), index=np.arange(n))
        found = open_images(str(tmp_path))
        assert np.array_equal(found.images, np.concatenate([train, test])[:, None])
        assert (found.labels.tolist(), found.trained) == ([0, 1, 2, 3, 0, 1, 2], 4)
        assert len(found.classes) == 10
        one = open_images(tmp_path / "mnist_test.npz")
        assert np.array_equal(one.images[:, 0], test)
        assert (one.name, one.trained, len(one.classes)) == ("mnist_test", None, 10)
        (tmp_path / "mnist_train.npz").unlink()
        assert len(open_images(tmp_path)) == 3

    def test_colours_and_names(self, tmp_path):
        array, labels = pixels(3, 2, 5, 4), np.array([1, 0, 1])
        path = self.write(tmp_path / "a.npz", images=array, labels=labels, classes=np.array(["cat", "dog"]))
        found = open_images(path)
        assert np.array_equal(found.images, array)
        assert (found.name, found.labels.tolist(), found.classes) == ("a", [1, 0, 1], ("cat", "dog"))
        assert found.checksum == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_numbered_classes_and_pixel_labels(self, tmp_path):
        labels = np.full((3, 5, 4), -100)
        labels[1, 2, 3] = 4
        found = open_images(self.write(tmp_path / "a.npz", images=pixels(3, 5, 4), labels=labels))
        assert np.array_equal(found.labels, labels)
        assert found.classes == ("0", "1", "2", "3", "4")

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"images": pixels(2, 4, 4)}, "a.npz lacks labels; an archive of images needs `images` and `labels`"),
            ({"pictures": pixels(2, 4, 4)}, "lacks images and labels"),
            ({"images": pixels(2, 4, 4), "labels": np.zeros(2)}, "`labels` must be int64 .* got float64"),
            ({"images": pixels(2, 4, 4), "labels": np.zeros(2, bool)}, "`labels` must be int64 .* got bool"),
            ({"images": pixels(2, 4, 4), "labels": np.zeros(3, int)}, "2 images and 3 labels"),
            ({"images": pixels(2, 4, 4), "labels": np.array([0, -1])}, "got the label -1"),
            ({"images": pixels(2, 4, 4), "labels": np.array([0, 2**63], np.uint64)}, "`labels` go up to 9223372036"),
            ({"images": pixels(2, 4, 4), "labels": np.array([0, 1000])}, "`labels` go up to 1000, .* add `classes`"),
            ({"images": pixels(2, 4, 4) / 255, "labels": np.zeros(2, int)}, "`images` must be uint8 .* got float64"),
            ({"images": pixels(2, 4), "labels": np.zeros(2, int)}, r"`images` must be .* got uint8 of shape \(2, 4\)"),
            ({"images": pixels(2, 4, 4), "labels": np.zeros((2, 4), int)}, r"got int64 of shape \(2, 4\)"),
            ({"images": np.uint8(3), "labels": np.int64(0)}, r"got uint8 of shape \(1,\)"),
            (
                {"images": pixels(2, 4, 4), "labels": np.zeros(2, int), "classes": np.array([3])},
                "`classes` must be a list of texts, got int64",
            ),
            (
                {"images": pixels(2, 4, 4), "labels": np.array([0, 1]), "classes": np.array(["one"])},
                "the 1 `classes` .* got the label 1",
            ),
            (
                {"images": pixels(2, 4, 4), "labels": np.array([0, 1], object)},
                r"not a readable .npz archive of plain arrays \(Object arrays",
            ),
        ],
    )
    def test_what_does_not_fit(self, tmp_path, arrays, message):
        with pytest.raises(UserError, match=message):
            open_images(self.write(tmp_path / "a.npz", **arrays))

    def test_damage(self, tmp_path):
        path = self.write(tmp_path / "a.npz", images=pixels(20, 8, 8), labels=np.zeros(20, int))
        whole = path.read_bytes()
        for damaged in (whole[:-40], whole[:200] + b"\0\0\0\0" + whole[204:], b"", np.zeros(3).tobytes()):
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=r"a.npz is not a readable .npz archive of plain arrays"):
                open_images(path)

    def test_a_header_that_asks_for_too_much(self, tmp_path):
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (2**50, 8, 8)})
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("images.npy", head.getvalue())
            archive.writestr("labels.npy", head.getvalue())
        with pytest.raises(UserError, match=r"a.npz is not a readable .npz archive of plain arrays"):
            open_images(tmp_path / "a.npz")


def packed(path, files, folder="unpacked/"):
    """A .tar.gz of these contents."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(folder + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def unpacked(path, files):
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def cifar10():
    """Files of two images each, by name, and all of their images in order, labelled 0 to 9, then 5 and 5."""
    array = pixels(12, 3, 32, 32)
    labels = [*range(10), 5, 5]
    records = [bytes([label]) + image.tobytes() for label, image in zip(labels, array, strict=True)]
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]
    files = {name: b"".join(records[2 * k : 2 * k + 2]) for k, name in enumerate(names)}
    classes = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"
    return files | {"batches.meta.txt": classes.encode(), "readme.html": b"-"}, array, labels


def cifar100():
    array = pixels(5, 3, 32, 32)
    labels = [99, 1, 50, 0, 7]
    records = [
        bytes([19 - k, label]) + image.tobytes() for k, (label, image) in enumerate(zip(labels, array, strict=True))
    ]
    names = "".join(f"kind {k}\n" for k in range(100)).encode()
    return (
        {"train.bin": b"".join(records[:3]), "test.bin": b"".join(records[3:]), "fine_label_names.txt": names},
        array,
        labels,
    )


def stl10():
    array = pixels(5, 3, 96, 96)
    labels = [10, 1, 3, 2, 9]
    columns_first = [image.transpose(0, 2, 1).tobytes() for image in array]
    return (
        {
            "train_X.bin": b"".join(columns_first[:2]),
            "train_y.bin": bytes(labels[:2]),
            "test_X.bin": b"".join(columns_first[2:]),
            "test_y.bin": bytes(labels[2:]),
            "class_names.txt": b"airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck\n",
            "unlabeled_X.bin": b"not read",
        },
        array,
        [label - 1 for label in labels],
    )


SETS = {
    "cifar-10-binary": (cifar10, 10, {0: "airplane", 9: "truck"}),
    "cifar-100-binary": (cifar100, 3, {0: "kind 0", 99: "kind 99"}),
    "stl10_binary": (stl10, 2, {0: "airplane", 7: "monkey"}),
}


class TestRecords:
    @pytest.mark.parametrize("name", SETS)
    @pytest.mark.parametrize("folder", [False, True])
    def test_content(self, tmp_path, name, folder):
        make, trained, classes = SETS[name]
        files, array, labels = make()
        path = unpacked(tmp_path / name, files) if folder else packed(tmp_path / f"{name}.tar.gz", files)
        found = open_images(path)
        assert np.array_equal(found.images, array)
        assert found.labels.tolist() == labels
        assert (found.name, found.trained) == (name, trained)
        assert len(found.classes) == (100 if "100" in name else 10)
        assert all(found.classes[k] == text for k, text in classes.items())
        assert found.images.flags.c_contiguous
        assert found.images.flags.writeable
        if not folder:
            assert found.checksum == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_stl_is_stored_by_columns(self, tmp_path):
        """One bright pixel, the second byte of the green plane: row 1 of column 0."""
        files, *_ = stl10()
        plane = bytearray(3 * 96 * 96)
        plane[96 * 96 + 1] = 255
        found = open_images(packed(tmp_path / "stl10.tgz", files | {"train_X.bin": bytes(plane) * 2}))
        assert np.argwhere(found.images[0]).tolist() == [[1, 1, 0]]
        assert found.name == "stl10"

    @pytest.mark.parametrize(
        ("make", "changes", "message"),
        [
            (
                cifar10,
                {"data_batch_3.bin": None, "test_batch.bin": None},
                "lacks data_batch_3.bin, test_batch.bin, fil",
            ),
            (cifar10, {"batches.meta.txt": None}, "lacks batches.meta.txt, files of CIFAR-10"),
            (cifar10, {"data_batch_3.bin": b"0" * 3072}, r"data_batch_3.bin has 3072 bytes, expected 3073 for each"),
            (cifar10, {"test_batch.bin": b""}, "test_batch.bin has 0 bytes"),
            (cifar10, {"test_batch.bin": b"\x0a" + bytes(3072)}, "the 10 `classes` .* got the label 10"),
            (cifar10, {"batches.meta.txt": b"a\nb\n"}, "the 2 `classes` .* got the label 2"),
            (cifar10, {"batches.meta.txt": b"\xff\xfe"}, "batches.meta.txt is not a readable list of names"),
            (cifar100, {"test.bin": None}, "lacks test.bin, files of CIFAR-100"),
            (cifar100, {"test.bin": bytes(3073)}, "test.bin has 3073 bytes, expected 3074"),
            (stl10, {"test_y.bin": None}, "lacks test_y.bin, files of STL-10"),
            (stl10, {"test_X.bin": bytes(27647)}, "test_X.bin has 27647 bytes, expected 27648"),
            (stl10, {"test_y.bin": b"\x01\x02"}, "the test part has 3 images and 2 labels"),
            (stl10, {"train_y.bin": b"\x00\x01"}, r"train_y.bin: labels must lie in 1\.\.10, got 0"),
            (stl10, {"train_y.bin": b"\x0b\x01"}, r"train_y.bin: labels must lie in 1\.\.10, got 11"),
        ],
    )
    @pytest.mark.parametrize("folder", [False, True])
    def test_damage(self, tmp_path, make, changes, message, folder):
        files = {name: content for name, content in (make()[0] | changes).items() if content is not None}
        path = unpacked(tmp_path / "a", files) if folder else packed(tmp_path / "a.tar.gz", files)
        with pytest.raises(UserError, match=message):
            open_images(path)

    def test_a_damaged_archive(self, tmp_path):
        path = packed(tmp_path / "a.tar.gz", cifar10()[0])
        whole = path.read_bytes()
        plain = gzip.decompress(whole)
        flipped = whole[:-6] + bytes((whole[-6] ^ 1,)) + whole[-5:]  # in the checksum, after the last member
        for damaged in (whole[:-9], whole[:3000], b"text", b"", flipped, gzip.compress(plain[:9000])):
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=r"a.tar.gz is not a readable .tar.gz archive \(.+\); it may be"):
                open_images(path)

    @pytest.mark.parametrize("name", ["../data_batch_1.bin", "/tmp/data_batch_1.bin", "a/../../readme"])
    def test_a_path_that_leaves_the_archive(self, tmp_path, name):
        (tmp_path / "in").mkdir()
        path = packed(tmp_path / "in" / "a.tar.gz", {name: b"0"}, "")
        with pytest.raises(UserError, match=f"a.tar.gz names a file outside of it, '{name}'"):
            open_images(path)
        assert [file.name for file in tmp_path.rglob("*")] == ["in", "a.tar.gz"]

    def test_what_is_no_plain_file(self, tmp_path):
        member = tarfile.TarInfo("data_batch_1.bin")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
            archive.addfile(member)
        with pytest.raises(UserError, match=r"data_batch_1.bin must be a plain file of at most 256 MiB"):
            open_images(tmp_path / "a.tar.gz")

    def test_what_is_too_large(self, tmp_path, monkeypatch):
        path = packed(tmp_path / "a.tar.gz", cifar10()[0])
        monkeypatch.setattr(images, "LIMIT", 6145)
        with pytest.raises(UserError, match=r"unpacked/data_batch_1.bin must be a plain file of at most"):
            open_images(path)

    def test_a_name_twice(self, tmp_path):
        files = cifar10()[0]
        path = packed(tmp_path / "a.tar.gz", files | {"more/test_batch.bin": files["test_batch.bin"]})
        with pytest.raises(UserError, match=r"a.tar.gz holds test_batch.bin twice"):
            open_images(path)

    @pytest.mark.parametrize("names", [["data_batch_1", "batches.meta"], ["meta", "train", "test"]])
    def test_pickles_are_refused(self, tmp_path, names):
        files = dict.fromkeys(names, b"cos\nsystem\n(S'exit'\ntR.")
        for path in (packed(tmp_path / "cifar-python.tar.gz", files), unpacked(tmp_path / "a", files)):
            with pytest.raises(UserError, match=r"Python version of CIFAR, .* get the binary version, cifar-10-binary"):
                open_images(path)


def png(path, array, mode=None):
    path.parent.mkdir(exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)


def write_camvid(folder, parts=("train", "val", "test")):
    """Two images of 4 x 6 pixels a part, 0.png and 1.png, of which the first label is void."""
    content = {}
    for part in parts:
        array, labels = pixels(2, 4, 6, 3), RNG.integers(0, 11, (2, 4, 6)).astype(np.uint8)
        labels[:, 0, 0] = 11
        labels[:, 0, 1] = 10
        for k in range(2):
            png(folder / part / f"{k}.png", array[k])
            png(folder / f"{part}annot" / f"{k}.png", labels[k])
        content[part] = (array, labels)
    return content


class TestCamVid:
    @pytest.mark.parametrize("parts", [("train", "val", "test"), ("train", "test"), ("train",), ("train", "val")])
    def test_content(self, tmp_path, parts):
        content = write_camvid(tmp_path, parts)
        (tmp_path / "train" / "list.txt").write_text("not read")
        found = open_images(tmp_path)
        arrays, labels = (np.concatenate(group) for group in zip(*content.values(), strict=True))
        assert np.array_equal(found.images, arrays.transpose(0, 3, 1, 2))
        assert np.array_equal(found.labels, np.where(labels == 11, -100, labels.astype(int)))
        assert found.trained == (2 * len(parts) - 2 if "test" in parts else None)
        assert found.classes == CAMVID
        assert len(CAMVID) == 11
        assert (CAMVID[0], CAMVID[3], CAMVID[10]) == ("sky", "road", "bicyclist")

    def test_labels_with_a_palette(self, tmp_path):
        content = write_camvid(tmp_path, ("train",))
        for k in range(2):
            image = Image.fromarray(content["train"][1][k])
            image.putpalette([40 * (j % 3) + j for j in range(36)])
            assert image.mode == "P"
            image.save(tmp_path / "trainannot" / f"{k}.png")
        labels = content["train"][1].astype(int)
        assert np.array_equal(open_images(tmp_path).labels, np.where(labels == 11, -100, labels))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda f: (f / "trainannot/1.png").unlink(),
                "1.png is in one of train/ and trainannot/, expected in both",
            ),
            (lambda f: (f / "test/0.png").unlink(), "0.png is in one of test/ and testannot/"),
            (lambda f: [p.unlink() for p in f.glob("train*/*")], "has no PNG images in train/ and trainannot/"),
            (lambda f: png(f / "train/1.png", pixels(4, 5, 3)), r"train/1.png has the shape \(4, 5\), .* \(4, 6\)"),
            (lambda f: png(f / "valannot/1.png", np.zeros((6, 4), np.uint8)), r"valannot/1.png has the shape \(6, 4\)"),
            (lambda f: png(f / "train/1.png", pixels(4, 6)), "train/1.png has the colour mode L, expected RGB"),
            (lambda f: png(f / "testannot/1.png", pixels(4, 6, 3)), "testannot/1.png has .* RGB, expected L or P"),
            (
                lambda f: png(f / "trainannot/0.png", np.full((4, 6), 12, np.uint8)),
                r"holds the label 12, expected 0\.\.11",
            ),
            (lambda f: (f / "train/0.png").write_bytes(b"text"), "train/0.png is not a readable PNG image"),
            (
                lambda f: (f / "train/0.png").write_bytes((f / "train/0.png").read_bytes()[:70]),
                "train/0.png is not a readable PNG image",
            ),
        ],
    )
    def test_damage(self, tmp_path, change, message):
        write_camvid(tmp_path)
        change(tmp_path)
        with pytest.raises(UserError, match=message):
            open_images(tmp_path)

    def test_parts_of_different_sizes(self, tmp_path):
        write_camvid(tmp_path)
        for k in range(2):
            png(tmp_path / "test" / f"{k}.png", pixels(3, 6, 3))
            png(tmp_path / "testannot" / f"{k}.png", np.zeros((3, 6), np.uint8))
        with pytest.raises(
            UserError, match=r"images of shape \(3, 4, 6\) with .* make no set; give parts of one shape"
        ):
            open_images(tmp_path)


class TestSources:
    def test_nothing_there(self, tmp_path):
        with pytest.raises(UserError, match=r"no images at 'mnits'; give digits, an .npz file"):
            open_images("mnits")
        with pytest.raises(UserError, match="no images at 'digits'"):
            open_images(tmp_path.joinpath("digits").relative_to(tmp_path))

    def test_of_no_kind(self, tmp_path):
        (tmp_path / "a.txt").write_text("")
        with pytest.raises(UserError, match=r"a.txt is of no kind that is read here; give digits"):
            open_images(tmp_path / "a.txt")
        with pytest.raises(UserError, match=f"{tmp_path.name} holds no images of a kind that is read here; give"):
            open_images(tmp_path)
        with pytest.raises(UserError, match=r"a.tar.gz holds no images of a kind that is read here"):
            open_images(packed(tmp_path / "a.tar.gz", {"a.txt": b""}))

    def test_a_folder_where_a_file_should_be(self, tmp_path):
        write_mnist(tmp_path, ("train",))
        (tmp_path / "train-labels-idx1-ubyte").unlink()
        (tmp_path / "train-labels-idx1-ubyte").mkdir()
        with pytest.raises(UserError, match="train-labels-idx1-ubyte is not a readable file"):
            open_images(tmp_path)
