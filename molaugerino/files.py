"""Writing files so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from molaugerino.errors import UserError


def write_atomic(path: Path, content: bytes | str) -> None:
    """As `atomic_file`, of what is whole already."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[io.BufferedIOBase]:
    """Write beside the place, flush to disk, rename; a link is followed, a device or pipe written as it is.

    Raises:
        UserError: where the folder cannot be written.
    """
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                yield file
            return
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(draft, 0o666 & ~_umask())
            os.replace(draft, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose another place with --out") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def make_folder(path: Path) -> None:
    """Create a folder and check that it can be written, before any work is done for it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(
            f"cannot write to the folder {path}: {error.strerror or error}; choose another with --out"
        ) from None


def check_file(path: Path) -> None:
    """Raise unless a file can be written there, before any work is done for it; makes its folder."""
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder; give the name of a file")
    make_folder(path.parent)


def check_new_file(path: Path) -> None:
    """`check_file`, and raise where a file is there already."""
    check_file(path)
    if os.path.isfile(path):
        raise UserError(f"{path} exists already; remove it, or choose another place with --out")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: Path) -> str:
    """Of a file, at no cost in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
