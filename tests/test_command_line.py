"""The doctor and the launcher."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

import sdhelpers
from sdhelpers import __main__ as launcher
from sdhelpers import installation
from sdhelpers.__main__ import find_notebook, main


def test_importing_is_free_and_complete() -> None:
    """A fresh interpreter without torch imports the package, and the doctor runs in it."""
    code = (
        "import sys; sys.modules['torch'] = None; "
        "import sdhelpers; assert not sdhelpers.doctor(); assert 'diffusers' not in sys.modules"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "FIX  device" in result.stdout
    assert "torch cannot be used" in result.stdout
    assert set(sdhelpers.__all__) <= set(dir(sdhelpers))
    assert all(getattr(sdhelpers, name) is not None for name in sdhelpers.__all__)
    assert sdhelpers.generate.__name__ == "generate"
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        _ = sdhelpers.paint


def test_a_healthy_doctor(monkeypatch, capsys) -> None:
    monkeypatch.setattr(installation, "_ENOUGH_MEMORY", 0)
    assert main(["doctor"]) == 0
    report = capsys.readouterr().out
    for subject in ("python", "torch", "diffusers", "scipy", "device", "dtype", "disk", "memory"):
        assert f"ok   {subject}" in report
    assert "tiny model" in report
    assert report.endswith("All is well.\n")
    assert "FIX" not in report


def test_a_missing_package_and_its_repair(monkeypatch, capsys) -> None:
    real_version = installation.version

    def version(name: str) -> str:
        if name == "scipy":
            raise PackageNotFoundError(name)
        return real_version(name)

    monkeypatch.setattr(installation, "version", version)
    assert main(["doctor"]) == 1
    report = capsys.readouterr().out
    assert "FIX  scipy" in report
    assert f'-> {sys.executable} -m pip install "scipy>=' in report


def test_a_package_that_is_too_old(monkeypatch, capsys) -> None:
    real_version = installation.version
    monkeypatch.setattr(
        installation, "version", lambda name: "0.30" if name == "diffusers" else real_version(name)
    )
    assert not installation.doctor()
    report = capsys.readouterr().out
    assert "FIX  diffusers" in report
    assert "0.30 does not fit" in report


def test_sdhelpers_itself_is_not_installed(monkeypatch, capsys) -> None:
    """The doctor runs from a bare checkout, still looks at the packages, and names this folder."""

    def requires(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installation, "requires", requires)
    assert not installation.doctor()
    report = capsys.readouterr().out
    assert "FIX  sdhelpers" in report
    assert (
        f'-c "{installation._CHECKOUT / "constraints.txt"}" -e "{installation._CHECKOUT}"' in report
    )
    assert "torch" in report


@pytest.mark.parametrize("device", ["cuda:7", "mps", "abacus"])
def test_a_device_that_is_not_there(monkeypatch, device: str) -> None:
    monkeypatch.setenv("SDHELPERS_DEVICE", device)
    (finding,) = installation._examine_device()
    assert device in finding.state
    assert finding.repair == "unset SDHELPERS_DEVICE, or set it to cpu"


@pytest.mark.parametrize(
    ("error", "repair"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "close the programs and notebooks"),
        (RuntimeError("MPS backend out of memory"), "close the programs and notebooks"),
        (RuntimeError("the driver is too old"), "set SDHELPERS_DEVICE to cpu, until"),
    ],
)
def test_a_device_that_was_found_and_fails(monkeypatch, error: Exception, repair: str) -> None:
    """Nobody set the variable, so there is nothing to unset."""

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.delenv("SDHELPERS_DEVICE", raising=False)
    monkeypatch.setattr("sdhelpers.model.device.torch.ones", fail)
    (finding,) = installation._examine_device()
    assert str(error) in finding.state
    assert finding.repair.startswith(repair)
    assert "unset" not in finding.repair


def test_a_full_memory_is_not_the_variables_fault(monkeypatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setenv("SDHELPERS_DEVICE", "cpu")
    monkeypatch.setattr("sdhelpers.model.device.torch.ones", fail)
    (finding,) = installation._examine_device()
    assert "SDHELPERS_DEVICE" not in finding.repair


def test_a_cache_on_a_drive_that_is_not_there(monkeypatch) -> None:
    monkeypatch.setattr("sdhelpers.model.folder.find_existing", lambda folder: None)
    findings = {finding.subject: finding for finding in installation.examine()}
    assert findings["disk"].repair == "set HF_HOME to a folder of yours"


@pytest.mark.parametrize("version", [(3, 10, 9), (3, 11, 0), (3, 14, 2), (3, 15, 0)])
def test_a_python_that_the_packages_do_not_fit(monkeypatch, version: tuple) -> None:
    monkeypatch.setattr(installation.sys, "version_info", version)
    fits = version[:2] in ((3, 11), (3, 14))
    assert (installation._examine_python().repair == "") is fits


@pytest.mark.parametrize(("system", "call"), [("Windows", "& "), ("Darwin", "")])
def test_a_repair_survives_a_blank_in_a_path(monkeypatch, system: str, call: str) -> None:
    monkeypatch.setattr(installation.sys, "executable", "/my files/python")
    monkeypatch.setattr(installation.platform, "system", lambda: system)
    assert installation._reinstall().startswith(f'{call}"/my files/python" -m pip install -c "')


def test_a_broken_model_and_its_repair(monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        "sdhelpers.model.folder.find_model_problems", lambda folder: ["vae/x is truncated."]
    )
    assert not installation.doctor()
    report = capsys.readouterr().out
    assert "vae/x is truncated." in report
    assert "-> git checkout -- sdhelpers/tiny_sd" in report or installation._reinstall() in report


def test_low_memory_and_small_disk(monkeypatch) -> None:
    monkeypatch.setattr(installation, "_ENOUGH_MEMORY", 1e15)
    monkeypatch.setattr(installation, "_ENOUGH_DISK", 1e18)
    findings = {finding.subject: finding for finding in installation.examine()}
    assert findings["memory"].repair == "close other programs"
    assert "not for Stable Diffusion v1-4" in findings["disk"].state
    assert not findings["disk"].repair


@pytest.mark.parametrize("os_name", ["posix", "nt"])
def test_lab_opens_the_first_notebook(monkeypatch, os_name: str) -> None:
    commands = []

    class Left(BaseException):
        """Raised where the process would become another one."""

    def execv(program, command):
        commands.append(command)
        raise Left

    class Server:
        def __init__(self, command):
            commands.append(command)
            self.interruptions = 2

        def wait(self):
            self.interruptions -= 1
            if self.interruptions >= 0:
                raise KeyboardInterrupt
            return 7

    here = Path.cwd()
    monkeypatch.setattr(launcher.os, "execv", execv, raising=False)
    monkeypatch.setattr(launcher.os, "chdir", lambda root: None)
    monkeypatch.setattr(launcher.subprocess, "Popen", Server)
    first = find_notebook()
    monkeypatch.setattr(launcher, "find_notebook", lambda: first)
    monkeypatch.setattr(launcher.os, "name", os_name)
    try:
        if os_name == "posix":
            with pytest.raises(Left):
                main(["lab", "--no-browser", "--port", "9999"])
        else:  # there it waits through Ctrl-C
            assert main(["lab", "--no-browser", "--port", "9999"]) == 7
    finally:
        monkeypatch.undo()
    (command,) = commands
    root, path = command[3].split("=")[1], command[4].split("=")[1]
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert command[3].startswith("--ServerApp.root_dir=")
    assert Path(root) / path.removeprefix("/lab/tree/") == first
    assert command[5:8] == ["--no-browser", "--port", "9999"]
    assert Path.cwd() == here


def test_lab_without_notebooks_says_where_they_are(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sdhelpers.__main__.find_notebook", lambda: None)
    assert main(["lab"]) == 1
    assert "clone it and run `make lab`" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["paint"], ["doctor", "--loud"]])
def test_unknown_commands(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err
