"""The doctor: what is installed here, what is wrong, and the one command that repairs it."""

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

_GIGABYTE = 1e9
_ENOUGH_DISK = 6e9  # bytes: Stable Diffusion v1-4 is 1.07e9 float32 parameters, 4.3 GB
_ENOUGH_MEMORY = 2e9  # bytes: the tiny model with torch stays well below
_PYTHONS = (3, 11), (3, 14)  # the first and the last that all pinned packages can be had for
_CHECKOUT = Path(__file__).parents[1]

# What to look for if sdhelpers itself is not installed, so that its metadata cannot be asked.
_CORE = ("torch", "diffusers", "transformers", "accelerate", "scipy", "jupyterlab")


@dataclass(frozen=True)
class Finding:
    """One line of the report; `repair` is a command or a deed, empty if all is well."""

    subject: str
    state: str
    repair: str = ""


def doctor() -> bool:
    """Print a report on this installation.

    Each problem comes with the one command, or the one deed, that repairs it. Nothing is changed.

    Returns:
        True if there is no problem.
    """
    findings = examine()
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        mark = "FIX" if finding.repair else "ok "
        print(f"{mark}  {finding.subject:<{width}}  {finding.state}")
        if finding.repair:
            print(f"     {'':<{width}}  -> {finding.repair}")
    num_problems = sum(bool(finding.repair) for finding in findings)
    print(f"\n{num_problems} to repair." if num_problems else "\nAll is well.")
    return num_problems == 0


def examine() -> list[Finding]:
    """Look at everything and give the findings, problems included."""
    return [
        _examine_python(),
        *_examine_packages(),
        *_examine_device(),
        _examine_disk(),
        _examine_memory(),
        _examine_model(),
    ]


def _examine_python() -> Finding:
    """Check the version of Python."""
    state = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    fits = _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]
    return Finding("python", state, "" if fits else "install Python 3.11 to 3.14")


def _examine_packages() -> list[Finding]:
    """Check each package that sdhelpers asks for; K-LMS needs scipy, for one."""
    try:
        asked_for = [entry for entry in requires("sdhelpers") or [] if "extra ==" not in entry]
        findings = [Finding("sdhelpers", version("sdhelpers"))]
    except PackageNotFoundError:
        asked_for = list(_CORE)
        findings = [Finding("sdhelpers", "not installed", _reinstall())]
    return findings + [_examine_package(entry) for entry in asked_for]


def _examine_package(requirement: str) -> Finding:
    """Check that one package is there in a version that fits, such as "torch>=2.6"."""
    name = requirement.translate(str.maketrans("<>=!~;[", " " * 7)).split()[0]
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(name, "missing", f'{_pip()} install "{requirement}"')
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return Finding(name, found)  # the missing package has a line of its own
    if Requirement(requirement).specifier.contains(found, prereleases=True):
        return Finding(name, found)
    return Finding(name, f"{found} does not fit", f'{_pip()} install "{requirement}"')


def _examine_device() -> list[Finding]:
    """Say which device and precision would be used."""
    try:
        import torch

        from sdhelpers.model.device import check_dtype, pick_device, pick_dtype
    except (ImportError, OSError) as error:
        return [Finding("device", f"torch cannot be used: {error}", _reinstall())]
    try:
        device = pick_device()
        dtype = pick_dtype(device)
        check_dtype(device, dtype)
    except (ValueError, RuntimeError) as error:  # there is no such device, or its memory is full
        return [Finding("device", str(error), _repair_device(error))]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    state = f"{device.type} {name}".strip() + f", {torch.get_num_threads()} threads"
    return [Finding("device", state), Finding("dtype", str(dtype))]


def _repair_device(error: Exception) -> str:
    """Say what fits the cause: a full memory, a device asked for, or one that was found."""
    from sdhelpers.model.device import is_memory_error

    if is_memory_error(error):
        return "close the programs and notebooks that fill its memory"
    if os.environ.get("SDHELPERS_DEVICE"):
        return "unset SDHELPERS_DEVICE, or set it to cpu"
    return "set SDHELPERS_DEVICE to cpu, until torch and the GPU's driver fit each other"


def _examine_disk() -> Finding:
    """Check the room where the Hugging Face hub's cache would grow."""
    from sdhelpers.model.folder import find_existing

    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        HF_HUB_CACHE = Path.home()  # noqa: N806
    folder = find_existing(Path(HF_HUB_CACHE))
    if folder is None:  # on Windows, a drive that is not there
        return Finding("disk", f"no drive for {HF_HUB_CACHE}", "set HF_HOME to a folder of yours")
    free = shutil.disk_usage(folder).free
    state = f"{free / _GIGABYTE:.0f} GB free"
    if free < _ENOUGH_DISK:
        state += ": enough for the tiny model, not for Stable Diffusion v1-4"
    return Finding("disk", state)


def _examine_memory() -> Finding:
    """Check the free memory."""
    try:
        import psutil
    except ImportError:
        return Finding("memory", "unknown", f"{_pip()} install psutil")
    free = psutil.virtual_memory().available
    repair = "close other programs" if free < _ENOUGH_MEMORY else ""
    return Finding("memory", f"{free / _GIGABYTE:.1f} GB free", repair)


def _examine_model() -> Finding:
    """Check that the tiny model is complete."""
    from sdhelpers.model.folder import TINY_SD, find_model_problems

    problems = find_model_problems(TINY_SD)
    if not problems:
        return Finding("tiny model", "complete")
    has_git = (_CHECKOUT / ".git").exists()
    repair = "git checkout -- sdhelpers/tiny_sd" if has_git else _reinstall()
    return Finding("tiny model", " ".join(problems), repair)


def _pip() -> str:
    """Give the pip command of the running Python."""
    if " " not in sys.executable:
        return f"{sys.executable} -m pip"
    call = "& " if platform.system() == "Windows" else ""  # or PowerShell takes it for a text
    return f'{call}"{sys.executable}" -m pip'


def _reinstall() -> str:
    """Give the command that installs sdhelpers as it was meant to be."""
    if (_CHECKOUT / "pyproject.toml").is_file():
        return f'{_pip()} install -c "{_CHECKOUT / "constraints.txt"}" -e "{_CHECKOUT}"'
    return f"{_pip()} install --force-reinstall --no-deps sdhelpers"
