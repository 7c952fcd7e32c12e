"""Files from the net: several places in turn, resumed where they broke off, checked before they count."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from molaugerino.errors import UserError

CHUNK = 1 << 18  # bytes
TIMEOUT = 30  # seconds without an answer
AGENT = "molaugerino (+https://pypi.org/project/molaugerino)"  # some mirrors refuse urllib's own name
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file and where it is to be had.

    Attributes:
        name: what it is called on disk.
        size: bytes.
        md5: of its content, as published.
        urls: mirrors, the first to be tried first.
    """

    name: str
    size: int
    md5: str
    urls: tuple[str, ...]


def silent(name: str, done: int, size: int) -> None:
    """No report of progress."""


class _Refused(Exception):
    """Why one mirror did not give the file."""


def fetch(file: RemoteFile, folder: Path, progress: Progress = silent) -> Path:
    """The file in `folder`, from the first mirror that gives it whole; at once where it is already there.

    What a broken connection left is in `<name>.part` and is gone on with: from the same mirror as long as it gives
    more, from the next one, and by the next call. A file of the wrong content is removed.

    Args:
        file: what, and from where.
        folder: that exists.
        progress: called with the name, the bytes so far, and the size.

    Raises:
        UserError: where no mirror gives it, the disk is full, or a file of this name has another content.
    """
    path, part = folder / file.name, folder / f"{file.name}.part"
    if path.exists():
        check(file, path)
        return path
    refusals = []
    for url in file.urls:
        try:
            _take(url, file, part, progress)
            part.replace(path)
            return path
        except (_Refused, UserError) as error:
            refusals.append(f"{url}: {error}")
        except OSError as error:
            part.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(f"no room for {file.name} ({file.size / 1e6:.0f} MB) in {folder}; free some") from None
            raise UserError(
                f"cannot write {part}: {error.strerror or error}; choose another place with --out"
            ) from None
    raise UserError(
        f"no mirror gave {file.name}:\n  " + "\n  ".join(refusals) + "\nfetch it by other means (a browser, another "
        f"machine), put it into {folder}, md5 {file.md5}, and call again, or name it with --from-file"
    )


def check(file: RemoteFile, path: Path) -> None:
    """Raise unless the content of `path` is that of `file`."""
    size = path.stat().st_size
    if size != file.size:
        raise UserError(f"{path.name} has {size} bytes, expected {file.size}; remove it and call again")
    if (found := md5(path)) != file.md5:
        raise UserError(f"{path.name} has md5 {found}, expected {file.md5}; remove it and call again")


def md5(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "md5").hexdigest()


def _take(url: str, file: RemoteFile, part: Path, progress: Progress) -> None:
    """Leave the whole, right file in `part`; what was there before is thrown away if it does not fit."""
    inherited = _size(part) > 0
    while True:
        before = _size(part)
        try:
            _download(url, file, part, progress)
            check(file, part)
            return
        except _Refused:
            if _size(part) <= before:
                raise
        except UserError:
            part.unlink()
            if not inherited:
                raise
            inherited = False


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _download(url: str, file: RemoteFile, part: Path, progress: Progress) -> None:
    """Append to `part` what it lacks."""
    have = _size(part)
    if have >= file.size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": AGENT} | ({"Range": f"bytes={have}-"} if have else {}))
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise _Refused(f"HTTP {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Refused(str(getattr(error, "reason", error) or type(error).__name__)) from None
    with contextlib.closing(answer):
        if answer.status != 206:  # this mirror starts anew
            have = 0
        with part.open("ab" if have else "wb") as out:
            while have <= file.size and (chunk := _read(answer, have, file.size)):
                out.write(chunk)
                have += len(chunk)
                progress(file.name, have, file.size)
    if have < file.size:
        raise _Refused(f"broke off after {have} of {file.size} bytes")


def _read(answer: http.client.HTTPResponse, have: int, size: int) -> bytes:
    """Some more bytes; none at the end."""
    try:
        return answer.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Refused(f"broke off after {have} of {size} bytes ({error or type(error).__name__})") from None
