"""A Hugging Face hub on this machine's loopback, that fails in a chosen way when told to.

It speaks as much of the protocol as the real client uses to fetch a model: the list of a
repository's files with sizes and checksums, and the files, whole or from a byte on.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<revision>.+))?")
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_CHUNK = 1 << 16


@dataclass
class Failure:
    """What goes wrong with the files that a pattern finds, so many times.

    Attributes:
        pattern: regular expression, searched in the request's path.
        status: HTTP status to answer with, if not 0.
        headers: with that status.
        cut_after: bytes after which the connection is dropped, if not None.
        flips: a byte of the content is changed.
        truncates: half of the content is sent, and called all of it.
        drips: the content comes slowly, in ten seconds.
        hangs: nothing is answered for some seconds, then the connection is dropped.
        times: left.
    """

    pattern: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    flips: bool = False
    truncates: bool = False
    drips: bool = False
    hangs: bool = False
    times: int = 1


@dataclass
class LocalHub:
    """The server's state; change `failures` while it runs.

    Attributes:
        repositories: id -> folder.
        failures: used up in order, the first that fits.
        requests: "METHOD path" of each request so far; with " from N" if a range was asked for.
        url: of the server.
        commit: at which the repositories are.
        tells_sizes: and checksums; a mirror may know neither.
    """

    repositories: dict[str, Path]
    failures: list[Failure] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    commit: str = COMMIT
    tells_sizes: bool = True

    def fail(self, pattern: str, **how: object) -> None:
        """Let the next requests that match fail."""
        self.failures.append(Failure(pattern, **how))

    def take_failure(self, path: str, wants_content: bool) -> Failure | None:
        """Give the failure for this request, and count it; those of content spare HEAD."""
        for failure in self.failures:
            is_of_content = not failure.status and not failure.hangs
            if failure.times and re.search(failure.pattern, path):
                if is_of_content and not wants_content:
                    continue
                failure.times -= 1
                return failure
        return None


@contextmanager
def serve_hub(repositories: dict[str, Path]) -> Iterator[LocalHub]:
    """Serve folders as repositories until the block ends."""
    hub = LocalHub(repositories)

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each small answer waits 40 ms for its second packet

    def log_message(self, format: str, *values: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client went away
            super().handle()

    def do_HEAD(self) -> None:
        self.answer(wants_content=False)

    def do_GET(self) -> None:
        self.answer(wants_content=True)

    def answer(self, wants_content: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        start = int(re.sub(r"\D", "", self.headers.get("Range", "0").partition("-")[0]) or 0)
        suffix = f" from {start}" if start else ""
        self.hub.requests.append(f"{self.command} {path}{suffix}")
        failure = self.hub.take_failure(path, wants_content)
        if failure and failure.hangs:
            threading.Event().wait(3)  # not time.sleep, which the tests replace
            self.close_connection = True
        elif failure and failure.status:
            self.send(failure.status, b"it was told to fail", failure.headers)
        elif match := _API.fullmatch(path):
            self.answer_list(match["repo"], match["revision"] or "main")
        elif match := _RESOLVE.fullmatch(path):
            self.answer_file(*match.groups(), start, wants_content, failure)
        else:
            self.send(404, b"no such thing")

    def find_folder(self, repo: str, revision: str) -> Path | None:
        folder = self.hub.repositories.get(repo)
        if folder is None:
            # The real hub doesn't say whether a model is private or not there.
            self.send(401, b"", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", self.hub.commit):
            self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return None
        return folder

    def answer_list(self, repo: str, revision: str) -> None:
        folder = self.find_folder(repo, revision)
        if folder is None:
            return
        siblings = []
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            entry = {"rfilename": path.relative_to(folder).as_posix()}
            if self.hub.tells_sizes:
                entry["size"] = path.stat().st_size
            if self.hub.tells_sizes and path.suffix in (".safetensors", ".bin"):
                entry["lfs"] = {"sha256": sha256(path), "size": entry["size"], "pointerSize": 134}
            siblings.append(entry)
        content = {
            "id": repo,
            "modelId": repo,
            "sha": self.hub.commit,
            "siblings": siblings,
            "tags": [],
        }
        self.send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def answer_file(
        self,
        repo: str,
        revision: str,
        name: str,
        start: int,
        wants_content: bool,
        failure: Failure | None,
    ) -> None:
        folder = self.find_folder(repo, revision)
        if folder is None:
            return
        path = folder / name
        if not path.is_file():
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.hub.commit}
            self.send(404, b"", headers)
            return
        content = path.read_bytes()
        if failure and failure.flips:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if failure and failure.truncates:
            content = content[: len(content) // 2]
        headers = {
            "ETag": f'"{sha256(path)}"',
            "X-Repo-Commit": self.hub.commit,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send(206 if start else 200, content[start:], headers, wants_content, failure)

    def send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        wants_content: bool = True,
        failure: Failure | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD" or not wants_content:
            return
        if failure and failure.cut_after is not None:
            self.wfile.write(content[: failure.cut_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        for at in range(0, len(content), _CHUNK):
            self.wfile.write(content[at : at + _CHUNK])
            if failure and failure.drips:
                threading.Event().wait(10 * _CHUNK / len(content))


def sha256(path: Path) -> str:
    """Give a file's checksum, computed once as long as the file stays as it is."""
    return _sha256(path, path.stat().st_mtime_ns)


@cache
def _sha256(path: Path, changed_at: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
