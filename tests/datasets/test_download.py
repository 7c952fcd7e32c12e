"""Downloads from a server on this machine that misbehaves in every way a mirror can."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from molaugerino.datasets import download
from molaugerino.datasets.download import RemoteFile, fetch
from molaugerino.errors import UserError

CONTENT = bytes(range(256)) * 4000  # 1 MB
HALF = len(CONTENT) // 2
MD5 = hashlib.md5(CONTENT).hexdigest()


@dataclass
class Mirrors:
    """A server, and what was asked of it: (path, Range header)."""

    root: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def file(self, *paths):
        return RemoteFile("data.bin", len(CONTENT), MD5, tuple(self.root + path for path in paths))


@pytest.fixture
def mirrors(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    found = Mirrors()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers["Range"]
            found.asked.append((self.path, wanted))
            getattr(self, self.path[1:])(int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0)

        def answer(self, status, body, length=None):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # who asked has heard enough
                self.wfile.write(body)

        def good(self, start):
            self.answer(206 if start else 200, CONTENT[start:])

        def forbidden(self, start):
            self.answer(403, b"no")

        def breaks(self, start):
            """Half of what is left, then the line is dead; nothing more after the first time."""
            rest = CONTENT[start:]
            self.answer(206 if start else 200, b"" if start else rest[:HALF], len(rest))

        def stutters(self, start):
            """A quarter of the file each time."""
            rest = CONTENT[start:]
            self.answer(206 if start else 200, rest[: HALF // 2], len(rest))

        def rangeless(self, start):
            self.answer(200, CONTENT)

        def wrong(self, start):
            self.answer(206 if start else 200, bytes(len(CONTENT) - start))

        def short(self, start):
            self.answer(200, CONTENT[:-10])

        def endless(self, start):
            self.answer(200, CONTENT * 20)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.root = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder: Path):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_and_its_progress(mirrors, tmp_path):
    seen = []
    path = fetch(mirrors.file("/good"), tmp_path, lambda *report: seen.append(report))
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["data.bin"]
    assert mirrors.asked == [("/good", None)]
    assert seen[-1] == ("data.bin", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})


def test_what_is_there_is_not_fetched_again(mirrors, tmp_path):
    (tmp_path / "data.bin").write_bytes(CONTENT)
    assert fetch(mirrors.file("/good"), tmp_path) == tmp_path / "data.bin"
    assert mirrors.asked == []


@pytest.mark.parametrize(("content", "message"), [(b"mine", "has 4 bytes"), (bytes(len(CONTENT)), "has md5")])
def test_another_file_of_this_name_is_left_alone(mirrors, tmp_path, content, message):
    (tmp_path / "data.bin").write_bytes(content)
    with pytest.raises(UserError, match=rf"data.bin {message}.*; remove it and call again"):
        fetch(mirrors.file("/good"), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == content
    assert mirrors.asked == []


def test_a_refusal_leads_to_the_next_mirror(mirrors, tmp_path):
    assert fetch(mirrors.file("/forbidden", "/good"), tmp_path).read_bytes() == CONTENT
    assert mirrors.asked == [("/forbidden", None), ("/good", None)]


def test_a_dead_server_leads_to_the_next_mirror(mirrors, tmp_path):
    file = mirrors.file("/good")
    file = RemoteFile(file.name, file.size, file.md5, ("http://127.0.0.1:9/", *file.urls))
    assert fetch(file, tmp_path).read_bytes() == CONTENT


def test_a_broken_connection_is_resumed_by_the_next_mirror(mirrors, tmp_path):
    assert fetch(mirrors.file("/breaks", "/good"), tmp_path).read_bytes() == CONTENT
    rest = f"bytes={HALF}-"
    assert mirrors.asked == [("/breaks", None), ("/breaks", rest), ("/good", rest)]


def test_a_broken_connection_is_resumed_by_the_next_call(mirrors, tmp_path):
    with pytest.raises(UserError, match=rf"/breaks: broke off after {HALF} of {len(CONTENT)} bytes"):
        fetch(mirrors.file("/breaks"), tmp_path)
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:HALF]
    mirrors.asked.clear()
    assert fetch(mirrors.file("/good"), tmp_path).read_bytes() == CONTENT
    assert mirrors.asked == [("/good", f"bytes={HALF}-")]
    assert names(tmp_path) == ["data.bin"]


def test_an_interrupt_leaves_what_came(mirrors, tmp_path):
    def interrupt(name, done, size):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(mirrors.file("/good"), tmp_path, interrupt)
    came = (tmp_path / "data.bin.part").stat().st_size
    assert 0 < came < len(CONTENT)
    assert fetch(mirrors.file("/good"), tmp_path).read_bytes() == CONTENT
    assert mirrors.asked[1] == ("/good", f"bytes={came}-")


def test_a_part_that_is_whole_needs_no_mirror(mirrors, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    assert fetch(mirrors.file("/good"), tmp_path).read_bytes() == CONTENT
    assert mirrors.asked == []


def test_a_mirror_that_gives_more_each_time_is_asked_again(mirrors, tmp_path):
    assert fetch(mirrors.file("/stutters"), tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in mirrors.asked] == [None, *(f"bytes={k * HALF // 2}-" for k in (1, 2, 3))]


def test_a_mirror_that_ignores_ranges(mirrors, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:HALF])
    assert fetch(mirrors.file("/rangeless"), tmp_path).read_bytes() == CONTENT
    assert mirrors.asked == [("/rangeless", f"bytes={HALF}-")]


@pytest.mark.parametrize("left", [b"something else", CONTENT + b"more", bytes(len(CONTENT))])
def test_a_part_of_another_file_is_thrown_away(mirrors, tmp_path, left):
    (tmp_path / "data.bin.part").write_bytes(left)
    assert fetch(mirrors.file("/good"), tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == ["data.bin"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/forbidden", "HTTP 403 Forbidden"),
        ("/wrong", "has md5 .*, expected"),
        ("/short", f"broke off after {len(CONTENT) - 10} of {len(CONTENT)} bytes"),
        ("/endless", rf"has \d+ bytes, expected {len(CONTENT)}"),
    ],
)
def test_no_mirror_gives_it(mirrors, tmp_path, path, message):
    """Every mirror with its reason, and what to do; nothing of wrong content is left."""
    reported = []
    with pytest.raises(UserError) as error:
        fetch(mirrors.file("/forbidden", path), tmp_path, lambda name, done, size: reported.append(done))
    first, *reasons, remedy = str(error.value).splitlines()
    assert first == "no mirror gave data.bin:"
    assert reasons[0].endswith("/forbidden: HTTP 403 Forbidden")
    assert re.search(f"{path}: .*{message}", reasons[1])
    assert max(reported, default=0) < 2 * len(CONTENT)
    for word in ("other means", str(tmp_path), MD5, "--from-file"):
        assert word in remedy
    assert names(tmp_path) == (["data.bin.part"] if path == "/short" else [])


def test_wrong_content_leads_to_the_next_mirror(mirrors, tmp_path):
    assert fetch(mirrors.file("/wrong", "/good"), tmp_path).read_bytes() == CONTENT
    assert mirrors.asked == [("/wrong", None), ("/good", None)]


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSPC, r"no room for data.bin \(1 MB\) in .*; free some"), (errno.EIO, "cannot write .*; choose another")],
)
def test_a_disk_that_fails(mirrors, tmp_path, monkeypatch, code, message):
    real = Path.open

    def opened(self, mode="r", *rest):
        file = real(self, mode, *rest)
        return Full(file, code) if mode in ("ab", "wb") else file

    monkeypatch.setattr(download.Path, "open", opened)
    with pytest.raises(UserError, match=message):
        fetch(mirrors.file("/good", "/good"), tmp_path)
    assert names(tmp_path) == []
    assert len(mirrors.asked) == 1


class Full:
    """A file that takes one piece, and then the disk is full."""

    def __init__(self, file, code):
        self.file, self.code, self.pieces = file, code, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, chunk):
        if self.pieces:
            raise OSError(self.code, "the disk")
        self.pieces += 1
        self.file.write(chunk)
