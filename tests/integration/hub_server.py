"""As much of the Hugging Face hub as a download needs, on 127.0.0.1: no test needs a network."""

import hashlib
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import huggingface_hub.constants

from knowledge_neurons.networks.hub import HUB_NAMES


class Hub:
    """As much of the hub as a download needs, on 127.0.0.1.

    repos[repo][revision] is {file name: content}; requests lists "METHOD repo/revision/file".
    """

    def __init__(self):
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.requests: list[str] = []
        self.broken = ""  # GET of this file: the connection drops
        self.status = 0  # of every answer, where it is not 0
        self.commit = ""  # answers say this one; "": a digest of the repository's content
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                hub.answer(self)

            do_GET = do_HEAD

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", request.path)
        repo, revision, name = map(unquote, match.groups()) if match else ("", "", "")
        if match:
            self.requests.append(f"{request.command} {repo}/{revision}/{name}")
        elif request.path.startswith("/api/models/"):
            return self.answer_about(request)
        if self.status:
            return self.send(request, self.status, {})
        files = self.repos.get(repo, {}).get(revision)
        if files is None:
            error = "RevisionNotFound" if repo in self.repos else "RepoNotFound"
            return self.send(request, 404, {"X-Error-Code": error})
        content = repr(sorted(files.items())).encode()
        commit = self.commit or hashlib.sha1(content).hexdigest()
        if name not in files:
            return self.send(
                request, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            )
        if request.command == "GET" and name == self.broken:
            request.close_connection = True
            return None
        etag = hashlib.sha256(files[name]).hexdigest()
        return self.send(request, 200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, files[name])

    def answer_about(self, request: BaseHTTPRequestHandler) -> None:
        """What is asked about a repository: whether it has folders, which it has not."""
        repo = "/".join(request.path.split("/")[3:5])
        error = "EntryNotFound" if repo in self.repos else "RepoNotFound"
        self.requests.append(f"{request.command} {request.path}")
        self.send(request, 404, {"X-Error-Code": error})

    def send(self, request, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        request.send_response(status)
        for key, value in headers.items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)

    def put(self, name: str, folder: Path, revision: str = "main") -> None:
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        self.repos.setdefault(HUB_NAMES.get(name, name), {})[revision] = files

    def served(self, method: str) -> list[str]:
        """File names of the requests of one method so far."""
        return [line.rsplit("/", 1)[1] for line in self.requests if line.startswith(method)]


def point_at(monkeypatch, url: str) -> None:
    """Make huggingface_hub, which reads its variables at import, and transformers ask there."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # It keeps a client, which goes on asking the server of an earlier test.
    monkeypatch.setattr("transformers.utils.hub._hf_api", None)


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
