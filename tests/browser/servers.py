"""Start JupyterLab and voila on a free port of this machine, on copies of the notebooks."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 90  # seconds for a server to answer
# A notebook that is drawn whole, and nothing that asks the network.
LAB_SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@contextmanager
def serve_lab(root: Path, scratch: Path) -> Iterator[str]:
    """Serve a folder in JupyterLab; gives the address."""
    for name, settings in LAB_SETTINGS.items():
        path = scratch / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    flags = [
        "--no-browser",
        "--allow-root",
        "--IdentityProvider.token=",
        "--LabApp.expose_app_in_browser=True",
        f"--ServerApp.root_dir={root}",
        f"--LabApp.user_settings_dir={scratch / 'settings'}",
        f"--LabApp.workspaces_dir={scratch / 'workspaces'}",
    ]
    with serve("jupyterlab", flags, "/api/status", root, scratch / "lab.log") as address:
        yield address


@contextmanager
def serve_voila(notebook: Path, scratch: Path) -> Iterator[str]:
    """Serve a notebook as a page without code; gives the address."""
    flags = [str(notebook), "--no-browser"]
    with serve("voila", flags, "/voila/static", notebook.parent, scratch / "voila.log") as address:
        yield address


@contextmanager
def serve(module: str, flags: list[str], probe: str, cwd: Path, log: Path) -> Iterator[str]:
    """Start a server as a process group, wait until it answers, and end it with its kernels."""
    port = find_port()
    command = [sys.executable, "-m", module, f"--port={port}", *flags]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=cwd, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_for(f"http://127.0.0.1:{port}{probe}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def find_port() -> int:
    """Find a port that nobody uses now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    """Wait for any answer of a server; raise a RuntimeError with its log if none comes."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=2)
            return
        except urllib.error.HTTPError:
            return  # it answers, if only to say that there is no such page
        except OSError:
            time.sleep(0.3)
    raise RuntimeError(f"The server did not start: {log.read_text(encoding='utf-8')[-2000:]}")
