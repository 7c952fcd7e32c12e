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


class _Refused(Exception):
    """Why one mirror did not give the file."""


def fetch(file: RemoteFile, folder: Path, progress: Progress = lambda name, done, size: None) -> Path:
    """The file in `folder`, from the first mirror that gives it whole; at once where it is already there.

    What a broken connection left is in `<name>.part` and is gone on with, by this call's next mirror or by the next
    call. A file of the wrong content is removed.

    Args:
        file: what, and from where.
        folder: that exists.
        progress: called with the name, the bytes so far, and the size.

    Raises:
        UserError: where no mirror gives it, or the disk is full.
    """
    path, part = folder / file.name, folder / f"{file.name}.part"
    if path.exists():
        check(file, path)
        return path
    refusals = []
    for url in file.urls:
        try:
            _download(url, file, part, progress)
            check(file, part)
            part.replace(path)
            return path
        except UserError as error:  # the wrong content: no part of it is of use
            part.unlink(missing_ok=True)
            refusals.append(f"{url}: {error}")
        except _Refused as error:
            refusals.append(f"{url}: {error}")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                part.unlink(missing_ok=True)
                raise UserError(f"no room for {file.name} ({file.size / 1e6:.0f} MB) in {folder}; free some") from None
            refusals.append(f"{url}: {error}")
    raise UserError(
        f"no mirror gave {file.name}:\n  " + "\n  ".join(refusals) + "\nfetch it by other means (a browser, another "
        f"machine), put it into {folder}, md5 {file.md5}, and call again, or name it with --from-file"
    )


def check(file: RemoteFile, path: Path) -> None:
    """Raise unless the content of `path` is that of `file`."""
    size = path.stat().st_size
    if size != file.size:
        raise UserError(f"{path.name} has {size} bytes, expected {file.size}; remove it and call again")
    with path.open("rb") as content:
        md5 = hashlib.file_digest(content, "md5").hexdigest()
    if md5 != file.md5:
        raise UserError(f"{path.name} has md5 {md5}, expected {file.md5}; remove it and call again")


def _download(url: str, file: RemoteFile, part: Path, progress: Progress) -> None:
    """Append to `part` what it lacks."""
    have = part.stat().st_size if part.exists() else 0
    if have > file.size:
        part.unlink()
        have = 0
    if have == file.size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": AGENT} | ({"Range": f"bytes={have}-"} if have else {}))
    try:
        with contextlib.closing(urllib.request.urlopen(request, timeout=TIMEOUT)) as answer:
            if have and answer.status != 206:  # this mirror starts anew
                have = 0
            with part.open("ab" if have else "wb") as out:
                while chunk := answer.read(CHUNK):
                    out.write(chunk)
                    have += len(chunk)
                    progress(file.name, have, file.size)
    except urllib.error.HTTPError as error:
        raise _Refused(f"HTTP {error.code} {error.reason}") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _Refused(str(getattr(error, "reason", error) or type(error).__name__)) from None
    if have < file.size:
        raise _Refused(f"broke off after {have} of {file.size} bytes")
