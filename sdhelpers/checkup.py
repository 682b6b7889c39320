"""The doctor: what is installed here, what is wrong, and the one command that repairs it."""

import importlib.util
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

_GIGABYTE = 1e9
_ENOUGH_DISK = 6e9  # bytes: Stable Diffusion v1-4 is 1.07e9 float32 parameters, 4.3 GB
_ENOUGH_MEMORY = 2e9  # bytes: the tiny model with torch stays well below


@dataclass(frozen=True)
class Finding:
    """One line of the report; `repair` is a command or an empty string if all is well."""

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
    findings = [_examine_python(), *_examine_packages()]
    if importlib.util.find_spec("torch"):
        findings += _examine_device()
    return [*findings, _examine_disk(), _examine_memory(), _examine_model()]


def _examine_python() -> Finding:
    """Check the version of Python."""
    state = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    is_old = sys.version_info < (3, 11)
    return Finding("python", state, "install Python 3.11 or newer" if is_old else "")


def _examine_packages() -> list[Finding]:
    """Check that every package that sdhelpers asks for is there; K-LMS needs scipy, for one."""
    findings = []
    for name in _required_packages():
        try:
            findings.append(Finding(name, version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, "missing", f"{_pip()} install {name}"))
    return findings


def _required_packages() -> list[str]:
    """Read the names of the packages from sdhelpers' own metadata, extras left out."""
    try:
        requirements = requires("sdhelpers") or []
    except PackageNotFoundError:
        return ["sdhelpers"]
    plain = [entry for entry in requirements if "extra ==" not in entry]
    return ["sdhelpers", *(entry.split(";")[0].split(">")[0].split("=")[0] for entry in plain)]


def _examine_device() -> list[Finding]:
    """Say which device and precision would be used."""
    import torch

    from sdhelpers.components import pick_device, pick_dtype

    device = pick_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor()
    state = f"{device.type} {name}".strip() + f", {torch.get_num_threads()} threads"
    return [Finding("device", state), Finding("dtype", str(pick_dtype(device)))]


def _examine_disk() -> Finding:
    """Check the room where the Hugging Face hub's cache would grow."""
    free = shutil.disk_usage(Path.home()).free
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
    from sdhelpers.model_folder import TINY_SD, find_model_problems

    problems = find_model_problems(TINY_SD)
    if problems:
        repair = f"{_pip()} install --force-reinstall --no-deps sdhelpers"
        if (TINY_SD.parents[1] / ".git").exists():
            repair = "git checkout -- sdhelpers/tiny_sd"
        return Finding("tiny model", " ".join(problems), repair)
    return Finding("tiny model", "complete")


def _pip() -> str:
    """Give the pip command of the running Python."""
    return f"{sys.executable} -m pip"
