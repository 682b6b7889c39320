"""Command line: `python -m sdhelpers doctor` and `python -m sdhelpers lab`."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

FIRST_NOTEBOOK = "00_the_whole_thing.ipynb"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and give its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["lab"]:
        return open_lab(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m sdhelpers")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="look at this installation and say how to repair it")
    commands.add_parser("lab", help="open the first notebook; all options go to JupyterLab")
    parser.parse_args(arguments)

    from sdhelpers.installation import doctor

    return 0 if doctor() else 1


def open_lab(flags: list[str]) -> int:
    """Start JupyterLab on the first notebook and wait until it is closed.

    Args:
        flags: options of JupyterLab, such as `--no-browser`, passed on as they are.

    Returns:
        JupyterLab's exit status; 1, with a message, if the notebooks are not there. On Linux and
        macOS this process becomes JupyterLab, so that nothing is returned.
    """
    notebook = find_notebook()
    if notebook is None:
        print(
            f"notebooks/{FIRST_NOTEBOOK} is neither here nor beside the package. The notebooks "
            "come with the project's repository: clone it and run `make lab` there.",
            file=sys.stderr,
        )
        return 1
    # Named by its path, JupyterLab would take the notebook's own folder for the root, and links
    # to what lies beside it would break.
    root = notebook.parents[1]
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={root}",
        f"--LabApp.default_url=/lab/tree/{notebook.relative_to(root).as_posix()}",
        *flags,
    ]
    # JupyterLab refuses to run as root unless told; in a container that is the only user.
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in flags:
        command.append("--allow-root")
    os.chdir(root)
    if os.name == "posix":
        os.execv(sys.executable, command)  # become JupyterLab: signals go where they should
    server = subprocess.Popen(command)
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:
            pass  # Ctrl-C reaches JupyterLab, too, which shuts its kernels down in peace


def find_notebook() -> Path | None:
    """Find the first notebook in the current folder or in the package's checkout."""
    for root in (Path.cwd(), Path(__file__).parents[1]):
        if (root / "notebooks" / FIRST_NOTEBOOK).is_file():
            return root / "notebooks" / FIRST_NOTEBOOK
    return None


if __name__ == "__main__":
    sys.exit(main())
