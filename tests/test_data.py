"""Where data come from: data/, the original host, the stand-in; and what is said in between."""

import concurrent.futures
import hashlib
import http.server
import threading
import time

import pytest

GOOD = b"the right bytes\n" * 500
SHA256 = hashlib.sha256(GOOD).hexdigest()


@pytest.fixture
def find_data(problem3, tmp_path, monkeypatch):
    """The loader, address -> (path, record), in a folder that holds nothing but a stand-in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/sample").mkdir(parents=True)
    (tmp_path / "data/sample/few.txt").write_text("a stand-in\n")
    return lambda url: problem3.find_data("numbers/all.txt", SHA256, url, "data/sample/few.txt")


@pytest.fixture
def host():
    """A web server: /good and /slow have the file, /cut a part; /moved leads to /good."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            pages = {"/wrong": (200, GOOD[::-1]), "/moved": (302, b"")}
            pages |= {page: (200, GOOD) for page in ("/good", "/cut", "/slow")}
            status, body = pages.get(self.path, (404, b"<html>no such page</html>"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", "/good")
            self.end_headers()
            sent = body[:50] if self.path == "/cut" else body
            for start in range(0, len(sent), 200):
                self.wfile.write(sent[start : start + 200])
                self.wfile.flush()
                time.sleep(0.1 if self.path == "/slow" else 0)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def left_over(tmp_path):
    return [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "few.txt"]


def test_a_file_in_place_is_used(find_data, tmp_path):
    (tmp_path / "data/numbers").mkdir()
    (tmp_path / "data/numbers/all.txt").write_bytes(GOOD)
    path, record = find_data(None)
    assert path.read_bytes() == GOOD
    assert record == {"source": "data/numbers/all.txt", "sha256": SHA256}


@pytest.mark.parametrize("page", ["good", "moved", "slow"])
def test_a_missing_file_is_downloaded(find_data, host, page):
    path, record = find_data(f"{host}/{page}")
    assert path.read_bytes() == GOOD
    assert record["source"] == f"{host}/{page}"


@pytest.mark.parametrize("page", ["missing", "wrong", "cut"])
def test_a_bad_download_is_named_and_leaves_nothing(find_data, host, page, tmp_path, capsys):
    path, record = find_data(f"{host}/{page}")
    assert path.read_text() == "a stand-in\n"
    assert record["source"] == "data/sample/few.txt"
    printed = capsys.readouterr().out
    assert "not downloaded" in printed
    assert "No result of it is a homework result" in printed
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/all.txt", "http://nowhere.invalid/all.txt"]
)
def test_a_dead_host_is_noticed_within_seconds(find_data, address, capsys):
    begin = time.monotonic()
    path, _ = find_data(address)
    assert time.monotonic() - begin < 20
    assert path.name == "few.txt"
    assert "ConnectionError" in capsys.readouterr().out


def test_an_interrupted_download_leaves_nothing_and_the_next_one_succeeds(
    problem3, find_data, host, tmp_path
):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(problem3.tqdm, "update", interrupt)
        find_data(f"{host}/slow")
    assert left_over(tmp_path) == []
    assert find_data(f"{host}/slow")[0].read_bytes() == GOOD


def test_two_downloads_at_once_both_end_with_the_right_file(find_data, host, tmp_path):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = list(pool.map(find_data, [f"{host}/slow"] * 2))
    assert [path.read_bytes() for path, _ in found] == [GOOD, GOOD]
    assert [path.name for path in left_over(tmp_path)] == ["all.txt"]


@pytest.mark.parametrize("options", ["size=4k", "ro"], ids=["full disk", "read-only folder"])
def test_a_disk_that_takes_no_file_is_named_and_left_alone(
    find_data, host, small_disk, tmp_path, options, capsys
):
    small_disk(tmp_path / "data/numbers", options)
    path, _ = find_data(f"{host}/good")
    assert path.name == "few.txt"
    assert "not downloaded" in capsys.readouterr().out
    assert left_over(tmp_path) == []


def test_a_wrong_file_in_place_is_neither_used_nor_deleted(find_data, host, tmp_path):
    wrong = tmp_path / "data/numbers/all.txt"
    wrong.parent.mkdir()
    wrong.write_text("<html>404</html>")
    said = r"data/numbers/all\.txt is damaged or another file.*Move it away"
    with pytest.raises(ValueError, match=said):
        find_data(f"{host}/good")
    assert wrong.read_text() == "<html>404</html>"


def test_without_any_source_the_error_says_what_to_do(find_data, tmp_path):
    (tmp_path / "data/sample/few.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"put .*in place .*data/README\.md says") as raised:
        find_data("http://127.0.0.1:9/all.txt")
    assert "data/numbers/all.txt" in str(raised.value)
    assert str(tmp_path) not in str(raised.value)
