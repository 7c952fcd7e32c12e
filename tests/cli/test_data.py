"""molaugerino data, from a server on this machine and from files."""

from __future__ import annotations

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from molaugerino.cli.main import main
from molaugerino.datasets import download, open_data, qm9
from molaugerino.datasets.download import RemoteFile, md5
from tests.datasets.qm9_files import small_archive


def call(capsys, *arguments):
    code = main(["data", "fetch", "qm9", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty place for prepared sets."""
    monkeypatch.setenv("MOLAUGERINO_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A server that has the two files of a small QM9, in place of the real one's."""
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "site"
    folder.mkdir()
    small_archive(folder / qm9.ARCHIVE.name)
    (folder / qm9.UNCHARACTERIZED.name).write_text("2 C\n5 C\n")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    for name in ("ARCHIVE", "UNCHARACTERIZED"):
        path = folder / getattr(qm9, name).name
        url = f"http://127.0.0.1:{server.server_port}/{path.name}"
        monkeypatch.setattr(qm9, name, RemoteFile(path.name, path.stat().st_size, md5(path), (url,)))
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder: Path):
    return sorted(path.name for path in folder.iterdir())


class TestFetching:
    def test_once_and_again(self, home, site, capsys, monkeypatch):
        code, out, err = call(capsys)
        assert code == 0
        assert f"4 molecules prepared in {home / 'qm9'}, 2 uncharacterised ones left out" in out
        assert "molaugerino train --data qm9" in out
        assert names(home) == ["qm9"]
        assert open_data("qm9").id.tolist() == [1, 3, 4, 6]
        before = (home / "qm9" / "manifest.json").stat()
        monkeypatch.setattr(download, "fetch", None)
        code, out, err = call(capsys)
        assert (code, err) == (0, "")
        assert f"{home / 'qm9'} holds 4 molecules already; train on it with" in out
        assert (home / "qm9" / "manifest.json").stat() == before

    def test_into_a_folder_of_ones_own(self, home, site, tmp_path, capsys):
        code, out, _ = call(capsys, "--out", tmp_path / "mine")
        assert code == 0
        assert f"--data {tmp_path / 'mine'}" in out
        assert len(open_data(str(tmp_path / "mine"))) == 4
        assert not home.exists()

    def test_an_interrupt_keeps_what_has_come_and_nothing_half_prepared(self, home, site, capsys, monkeypatch):
        real = download._read
        with monkeypatch.context() as context:
            pieces = iter([b"", KeyboardInterrupt])

            def read(answer, have, size):
                if size == qm9.UNCHARACTERIZED.size:
                    return real(answer, have, size)
                if next(pieces) is KeyboardInterrupt:
                    raise KeyboardInterrupt
                return answer.read(100)

            context.setattr(download, "_read", read)
            code, _, err = call(capsys)
        assert code == 130
        folder = home / "qm9.download"
        assert f"what has come is kept in {folder}; call again to go on" in err
        assert names(home) == ["qm9.download"]
        assert names(folder) == [f"{qm9.ARCHIVE.name}.part", qm9.UNCHARACTERIZED.name]
        assert (folder / f"{qm9.ARCHIVE.name}.part").stat().st_size == 100
        assert call(capsys)[0] == 0
        assert names(home) == ["qm9"]

    def test_an_interrupt_while_preparing(self, home, site, capsys, monkeypatch):
        def interrupt(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as context:
            context.setattr(qm9, "molecules", interrupt)
            assert call(capsys)[0] == 130
        assert names(home) == ["qm9.download"]
        (site / qm9.ARCHIVE.name).unlink()  # it has been fetched
        assert call(capsys)[0] == 0

    def test_no_network(self, home, site, capsys):
        (site / qm9.UNCHARACTERIZED.name).unlink()
        code, _, err = call(capsys)
        assert code == 2
        for words in ("no mirror gave uncharacterized.txt", "HTTP 404", str(home / "qm9.download"), "--from-file"):
            assert words in err

    def test_files_put_there_by_hand_are_found(self, home, site, capsys):
        (home / "qm9.download").mkdir(parents=True)
        for path in list(site.iterdir()):
            path.rename(home / "qm9.download" / path.name)
        assert call(capsys)[0] == 0

    def test_a_folder_in_use_is_left_alone_before_anything_is_fetched(self, home, site, capsys):
        (home / "qm9").mkdir(parents=True)
        (home / "qm9" / "mine").write_text("")
        code, _, err = call(capsys)
        assert code == 2
        assert "exists already; remove it" in err
        assert names(home) == ["qm9"]

    def test_a_damaged_one(self, home, site, capsys):
        call(capsys)
        path = home / "qm9" / "label_000.npy"
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
        code, _, err = call(capsys)
        assert code == 2
        assert "damaged: the content of label_000.npy is not what was written; remove the folder" in err


class TestFiles:
    def test_with_the_table_beside_it(self, home, tmp_path, capsys):
        archive = small_archive(tmp_path / "a.tar.bz2")
        (tmp_path / "uncharacterized.txt").write_text("2 C\n5 C\n")
        code, out, _ = call(capsys, "--from-file", archive)
        assert (code, "4 molecules prepared" in out) == (0, True)
        assert archive.exists()

    def test_train_and_evaluate_on_what_was_prepared(self, home, tmp_path, capsys):
        """From the archive to errors in eV, by the settings of the command line alone."""
        small_archive(tmp_path / "tiny.tar.bz2", count=60)
        (tmp_path / qm9.UNCHARACTERIZED.name).write_text("2 C\n5 C\n")
        assert call(capsys, "--from-file", tmp_path / "tiny.tar.bz2")[0] == 0
        small = ["--net.width", "16", "--net.depth", "1", "--steps", "4", "--law.eval-copies", "2"]
        run = str(tmp_path / "run")
        settings = ["--data", "qm9", "--target", "homo", "u298", "--model", "schnet", *small, "--out", run]
        assert main(["train", *settings]) == 0
        assert "homo" in (printed := capsys.readouterr().out)
        assert "B3LYP/6-31G(2df,p)" in printed
        assert main(["evaluate", run, "--format", "json"]) == 0
        cells = json.loads(capsys.readouterr().out)["results"]
        assert {(c["target"], c["unit"], c["n"]) for c in cells} == {("homo", "eV", 5), ("U", "eV", 5)}

    def test_into_the_folder_one_is_in(self, tmp_path, monkeypatch, capsys):
        small_archive(tmp_path / "tiny.tar.bz2")
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        code, _, err = call(capsys, "--from-file", tmp_path / "tiny.tar.bz2", "--out", ".")
        assert code == 0, err
        assert len(open_data(str(tmp_path / "here"))) == 6

    def test_another_archive_without_a_table(self, home, tmp_path, capsys):
        code, out, err = call(capsys, "--from-file", small_archive(tmp_path / "a.tar.bz2"))
        assert (code, "6 molecules prepared" in out) == (0, True)
        assert "no uncharacterized.txt beside" in err
        assert "not the published archive: nothing is left out" in err

    def test_the_published_archive_without_a_table(self, home, site, capsys):
        (site / "uncharacterized.txt").unlink()
        code, _, err = call(capsys, "--from-file", site / qm9.ARCHIVE.name)
        assert code == 2
        assert (
            "uncharacterized.txt is missing: it lists the 3,054 molecules to leave out; put it there, from http" in err
        )
        assert not (home / "qm9").exists()

    def test_no_archive(self, home, tmp_path, capsys):
        code, _, err = call(capsys, "--from-file", tmp_path / "none.tar.bz2")
        assert (code, "no archive at" in err) == (2, True)


class TestMistakes:
    def test_help(self, capsys):
        with pytest.raises(SystemExit) as stop:
            main(["data", "--help"])
        assert stop.value.code == 0
        text = " ".join(capsys.readouterr().out.split())
        for words in ("molaugerino data", "fetch qm9", "--from-file FILE", "130,831 molecules", "uncharacterized.txt"):
            assert words in text

    @pytest.mark.parametrize("arguments", [["fetch", "qm8"], ["get", "qm9"], ["fetch"], []])
    def test_another_set(self, arguments, capsys):
        with pytest.raises(SystemExit) as stop:
            main(["data", *arguments])
        assert stop.value.code == 2
        assert "molaugerino data" in capsys.readouterr().err

    def test_training_on_what_is_not_there(self, home, tmp_path, capsys):
        code = main(["train", "--data", "qm9", "--out", str(tmp_path / "run")])
        assert code == 2
        assert (
            f"qm9 is not in {home / 'qm9'} yet; get it once with: molaugerino data fetch qm9" in capsys.readouterr().err
        )

    def test_a_folder_that_cannot_be(self, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        code, _, err = call(capsys, "--out", tmp_path / "file" / "qm9")
        assert (code, "cannot write" in err) == (2, True)
