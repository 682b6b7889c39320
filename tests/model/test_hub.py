"""Models from a hub: the real client against a local server that fails in every way we know of."""

import _thread
import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from sdhelpers import generate, load_components
from sdhelpers.model.folder import find_model_problems
from sdhelpers.model.hub import fetch_model
from sdhelpers.model.hub_errors import ModelError
from tests.conftest import copy_model
from tests.model.local_hub import COMMIT, LocalHub, serve_hub

MODEL = "CompVis/stable-diffusion-v1-4"
VAE = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub(v1_shaped: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[LocalHub]:
    with serve_hub({MODEL: v1_shaped}) as hub:
        point_at(hub.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's tries
        close_session()  # or it would go on being offline
        yield hub
        close_session()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what HF_ENDPOINT does, which the client reads when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what HF_HUB_OFFLINE does."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()


def contents(requests: list[str]) -> list[str]:
    """List the files of which the content was sent."""
    return [request for request in requests if request.startswith("GET") and "/resolve/" in request]


def leftovers(cache: Path) -> list[Path]:
    """List what a download that broke off left half-written."""
    return [path for path in cache.rglob("*") if path.name.endswith(".incomplete")]


def test_what_is_fetched_is_the_model_and_later_nobody_is_asked(
    hub: LocalHub,
    v1_shaped: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetched = fetch_model(MODEL)
    assert find_model_problems(fetched) == []
    for path in sorted(one for one in fetched.rglob("*") if one.is_file()):
        assert path.read_bytes() == (v1_shaped / path.relative_to(fetched)).read_bytes()
    names = {path.relative_to(fetched).as_posix() for path in fetched.rglob("*.*")}
    assert {VAE, "tokenizer/merges.txt", "scheduler/scheduler_config.json"} <= names
    assert not any("fp16" in name for name in names)
    said = capsys.readouterr().out
    assert f"Fetching {MODEL} (revision main), once:" in said
    assert re.search(r"unet +9\.3 MB", said)
    assert "licence: CreativeML OpenRAIL-M" in said
    assert f"into {constants.HF_HUB_CACHE}" in said
    assert contents(hub.requests)
    hub.requests.clear()
    assert fetch_model(MODEL) == fetched
    assert hub.requests == []
    assert capsys.readouterr().out == ""
    go_offline(monkeypatch)
    assert fetch_model(MODEL) == fetched


def test_the_parts_that_are_needed_and_no_others(hub: LocalHub) -> None:
    fetched = fetch_model(MODEL, ["vae"])
    assert [path.name for path in fetched.rglob("*.safetensors")] == [Path(VAE).name]
    assert (fetched / "unet" / "config.json").is_file()
    hub.requests.clear()
    assert fetch_model(MODEL, ["tokenizer"]) == fetched
    assert hub.requests == []
    fetch_model(MODEL, ["vae", "unet"])
    assert [request.rpartition("/")[2] for request in contents(hub.requests)] == [Path(VAE).name]
    assert "/unet/" in contents(hub.requests)[0]


def test_half_the_download_computes_in_single_precision(hub: LocalHub, v1_shaped: Path) -> None:
    half = load_components(MODEL, device="cpu", variant="fp16")
    assert not [request for request in contents(hub.requests) if "model.safetensors" in request]
    full = load_components(v1_shaped, device="cpu")
    for name, weights in half.unet.state_dict().items():
        assert weights.dtype == torch.float32
        assert torch.equal(weights, full.unet.state_dict()[name].half().float())
    hub.requests.clear()
    load_components(MODEL, device="cpu")  # what is there will do
    assert hub.requests == []


def test_a_model_from_the_hub_paints_as_from_its_folder(hub: LocalHub, v1_shaped: Path) -> None:
    options = {"num_inference_steps": 1, "height": 64, "width": 64, "show_progress": False}
    ours, same = (
        generate(load_components(model, device="cpu"), "a castle", **options)[0]
        for model in (MODEL, v1_shaped)
    )
    assert ours.tobytes() == same.tobytes()


# For each: what fails (pattern and how), what the message says.
FAILURES = {
    "rate limit": (
        r"/api/models/",
        {"status": 429, "headers": {"Retry-After": "30"}},
        r"too many requests.*\n.*in 30 seconds",
    ),
    "hub down": (r"/api/models/", {"status": 503}, r"has trouble \(503\).*\n.*later"),
    "gated": (
        r"/api/models/",
        {"status": 403, "headers": {"X-Error-Code": "GatedRepo"}},
        r"gated.*\n.*accept the terms.*hf auth login",
    ),
    "refused": (r"/api/models/", {"status": 403}, r"refuses \(403\).*\n.*token"),
    "gated once its files are asked for": (
        VAE,
        {"status": 403, "headers": {"X-Error-Code": "GatedRepo"}},
        r"gated.*\n.*accept the terms",
    ),
    "a login page for the list": (
        r"/api/models/",
        {"status": 200},
        r"was not the hub.*\n.*browser",
    ),
    "a login page for a file": (VAE, {"status": 200}, r"was not the hub.*\n.*browser"),
    "name gone": (
        r"/api/models/",
        {"status": 401, "headers": {"X-Error-Code": "RepoNotFound"}},
        r"no model of this name.*\n.*bk-sdm-tiny",
    ),
    "taken down": (
        r"/api/models/",
        {"status": 403, "headers": {"X-Error-Message": "Access to this resource is disabled."}},
        r"no model of this name, or hides it \(models are renamed and taken down\)",
    ),
    "file gone": (
        VAE,
        {"status": 404, "headers": {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}},
        r"a file is no longer there",
    ),
    "file refused by a hub in trouble": (VAE, {"status": 500, "times": 99}, r"has trouble \(500\)"),
    "changed on the way": (VAE, {"flips": True}, r"arrived damaged \(its checksum is wrong\)"),
    "half a file": (VAE, {"truncates": True}, r"broke off: Consistency check failed"),
    "dropped again and again": (VAE, {"cut_after": 10_000, "times": 9}, r"broke off"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_says_what_to_do_and_the_next_try_succeeds(
    hub: LocalHub, cache: Path, name: str
) -> None:
    pattern, how, message = FAILURES[name]
    hub.fail(pattern, **how)
    with pytest.raises(ModelError, match=message) as caught:
        fetch_model(MODEL, ["vae"])
    text = str(caught.value)
    assert MODEL in text
    assert "What to do: " in text
    assert leftovers(cache) == []
    hub.failures.clear()
    assert find_model_problems(fetch_model(MODEL, ["vae"]), ["vae"]) == []


def test_a_dropped_connection_goes_on_where_it_was(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)  # our files are small
    hub.fail(VAE, cut_after=1_000_000)
    fetched = fetch_model(MODEL, ["vae"])
    assert find_model_problems(fetched, ["vae"]) == []
    first, second = (request for request in contents(hub.requests) if VAE in request)
    assert " from " not in first
    assert int(second.rpartition(" from ")[2]) > 0


def test_after_a_failure_whole_files_are_not_fetched_again(hub: LocalHub) -> None:
    hub.fail(VAE, cut_after=10_000, times=9)
    with pytest.raises(ModelError):
        fetch_model(MODEL, ["unet", "vae"])
    hub.failures.clear()
    hub.requests.clear()
    fetch_model(MODEL, ["unet", "vae"])
    assert [request.rpartition("/resolve/")[2] for request in contents(hub.requests)] == [
        f"{COMMIT}/{VAE}"
    ]


def test_the_built_in_model_works_when_the_hub_does_not(hub: LocalHub) -> None:
    hub.fail("", status=503, times=99)
    with pytest.raises(ModelError, match=r"built-in model needs no network: load_components\(\)"):
        load_components(MODEL, device="cpu")
    assert load_components(device="cpu").unet is not None


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "127.0.0.1:9"])  # nobody listens there
def test_no_network(hub: LocalHub, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    point_at(url, monkeypatch)
    with pytest.raises(ModelError, match=r"no way to the hub from here.*\n.*proxy.*HF_ENDPOINT"):
        fetch_model(MODEL)


def test_offline_and_not_in_the_cache(cache: Path) -> None:
    with pytest.raises(ModelError, match=r"HF_HUB_OFFLINE forbids.*\n.*unset HF_HUB_OFFLINE"):
        fetch_model("sdhelpers-tests/no-such-model")
    with pytest.raises(OSError, match="can't be had now"):
        load_components("sdhelpers-tests/no-such-model")


def test_offline_with_half_of_it(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = fetch_model(MODEL, ["vae"])
    go_offline(monkeypatch)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE forbids"):
        fetch_model(MODEL, ["unet", "vae"])
    assert fetch_model(MODEL, ["vae"]) == fetched


@pytest.mark.parametrize("revision", ["v9", "refs/pr/1"])
def test_no_such_revision(hub: LocalHub, revision: str) -> None:
    with pytest.raises(ModelError, match=rf"no revision '{revision}'.*\n.*leave revision out"):
        fetch_model(MODEL, revision=revision)


def test_a_commit_as_revision(hub: LocalHub) -> None:
    fetched = fetch_model(MODEL, ["vae"], revision=COMMIT)
    hub.requests.clear()
    assert fetch_model(MODEL, ["vae"], revision=COMMIT) == fetched
    assert hub.requests == []


def test_no_such_variant(hub: LocalHub, v1_shaped: Path, tmp_path: Path) -> None:
    hub.repositories["full/only"] = copy_model(v1_shaped, tmp_path / "full", "*.fp16.*")
    with pytest.raises(
        ModelError, match=r"no weights in the variant 'fp16'.*\n.*leave variant out"
    ):
        load_components("full/only", device="cpu", variant="fp16")
    # Where half precision was our own idea, the full weights do.
    components = load_components("full/only", device="cpu", dtype=torch.float16)
    assert components.unet.dtype == torch.float16


def test_only_pickles_are_refused(hub: LocalHub, v1_shaped: Path, tmp_path: Path) -> None:
    pickled = copy_model(v1_shaped, tmp_path / "pickled", "*.safetensors")
    (pickled / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    hub.repositories["old/pickles"] = pickled
    with pytest.raises(ModelError, match=r"refused.*only pickles.*code its author"):
        fetch_model("old/pickles", ["unet"])
    assert contents(hub.requests) == []


def test_a_disk_without_room(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=120_000_000)
    monkeypatch.setattr("sdhelpers.model.hub.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(ModelError, match=r"no room.*120.0 MB are free.*\n.*HF_HOME.*fp16"):
        fetch_model(MODEL)
    monkeypatch.setattr("sdhelpers.model.hub._MARGIN", 1e12)
    with pytest.raises(ModelError) as refused:
        fetch_model(MODEL, variant="fp16")
    assert "no room" in str(refused.value)
    assert "fp16" not in str(refused.value)  # it is that already
    monkeypatch.setattr("sdhelpers.model.hub.find_existing", lambda folder: None)
    with pytest.raises(ModelError, match=r"there is no such drive.*\n.*HF_HOME"):
        fetch_model(MODEL)
    assert contents(hub.requests) == []


_LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
from sdhelpers.model.hub import fetch_model
try:
    fetch_model("CompVis/stable-diffusion-v1-4", ["vae"])
except OSError as error:
    print(type(error).__name__, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("then", fetch_model("CompVis/stable-diffusion-v1-4", ["vae"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes")
def test_a_disk_that_fills_up_on_the_way(hub: LocalHub, tmp_path: Path) -> None:
    """In a process of its own, with the environment that a user would set: a limit stands in
    for the disk's end.
    """
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ModelError" in done.stdout
    assert "the disk is full" in done.stdout
    assert leftovers(tmp_path) == []
    assert Path(done.stdout.rpartition("then ")[2].strip()).is_relative_to(tmp_path)


def test_a_cache_that_may_not_be_written(hub: LocalHub, cache: Path) -> None:
    cache.mkdir()
    cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        if os.access(cache, os.W_OK):
            pytest.skip("this user may write anywhere")
        with pytest.raises(ModelError, match=r"no right to write.*\n.*HF_HOME"):
            fetch_model(MODEL, ["vae"])
    finally:
        cache.chmod(stat.S_IRWXU)
    assert fetch_model(MODEL, ["vae"])


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EACCES, "no right to write"),
        (errno.EROFS, "no right to write"),
        (errno.ENOSPC, "the disk is full"),
        (errno.ENOTDIR, "is no folder"),
    ],
)
def test_what_the_disk_says(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    """The system's own errors, wherever they come up in the client."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", refuse)
        with pytest.raises(ModelError, match=message):
            fetch_model(MODEL, ["vae"])
    assert fetch_model(MODEL, ["vae"])


def test_a_network_that_hangs(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.fail(r"/api/models/", hangs=True)
    with monkeypatch.context() as patch:
        patch.setattr("sdhelpers.model.hub._PATIENCE", 0.3)
        with pytest.raises(ModelError, match="no way to the hub"):
            fetch_model(MODEL, ["vae"])
    assert fetch_model(MODEL, ["vae"])


def test_a_firewall_is_no_matter_of_folders(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """On some systems a forbidden connection is a PermissionError, as a forbidden folder is."""

    def forbid(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "an attempt was made to access a socket")

    monkeypatch.setattr("socket.create_connection", forbid)
    with pytest.raises(ModelError, match=r"no way to the hub from here.*\n.*firewall"):
        fetch_model(MODEL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Task error: IO Error: No space left on device (os error 28)", "the disk is full"),
        ("Task error: IO Error: Permission denied (os error 13)", "no right to write"),
        ("CAS Client Error: Request middleware error: error sending request", "broke off"),
        ("Connection refused (os error 13) in CAS Client Error: sending", "broke off"),
    ],
)
def test_what_the_fast_client_says(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    """hf_xet raises RuntimeErrors, with all that is known in their text."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr("huggingface_hub.file_download.http_get", refuse)
    with pytest.raises(ModelError, match=message):
        fetch_model(MODEL, ["vae"])


@pytest.mark.parametrize("kept", ["behind links", "without links", "shared by models"])
def test_what_a_power_cut_left_damaged_is_fetched_again(
    hub: LocalHub, cache: Path, v1_shaped: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    """In each form of the cache: Windows may forbid links, and a link may lead to a second one."""
    if kept == "without links":
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    fetched = fetch_model(MODEL, ["unet", "vae"])
    weights, config = fetched / VAE, fetched / "unet" / "config.json"
    assert weights.is_symlink() is (kept != "without links")
    if kept == "shared by models":
        blob = weights.resolve()
        blob.symlink_to(blob.rename(cache / blob.name))
    for path, content in ((weights, weights.read_bytes()[:1000]), (config, b"")):
        path.resolve().write_bytes(content)
    hub.requests.clear()
    assert fetch_model(MODEL, ["unet", "vae"]) == fetched
    for path in (weights, config):
        assert path.read_bytes() == (v1_shaped / path.relative_to(fetched)).read_bytes()
    assert len(contents(hub.requests)) == 2


def test_a_cache_that_was_tidied_by_hand(hub: LocalHub, cache: Path, v1_shaped: Path) -> None:
    fetched = fetch_model(MODEL, ["vae"])
    (fetched / VAE).resolve().unlink()
    (note,) = cache.glob("*/refs/main")
    note.write_text("")
    assert fetch_model(MODEL, ["vae"]) == fetched
    assert (fetched / VAE).read_bytes() == (v1_shaped / VAE).read_bytes()
    assert note.read_text() == COMMIT
    shutil.rmtree(cache)
    cache.write_text("no folder")
    with pytest.raises(ModelError, match=r"is no folder.*\n.*HF_HOME"):
        fetch_model(MODEL, ["vae"])


def test_a_check_that_was_interrupted_is_made_up_for(
    hub: LocalHub, v1_shaped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object) -> bool:
        raise KeyboardInterrupt

    hub.fail(VAE, flips=True)
    with monkeypatch.context() as patch:
        patch.setattr("sdhelpers.model.hub.hashlib.file_digest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch_model(MODEL, ["vae"])
    fetched = fetch_model(MODEL, ["vae"])
    assert (fetched / VAE).read_bytes() == (v1_shaped / VAE).read_bytes()


@pytest.mark.thorough
def test_a_download_can_be_interrupted(hub: LocalHub) -> None:
    """At once, and not when the file of some gigabytes is there."""
    hub.fail(VAE, drips=True)
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)  # xdist's workers ignore it
    timer = threading.Timer(1, _thread.interrupt_main)
    timer.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch_model(MODEL, ["vae"])
    signal.signal(signal.SIGINT, ours)
    assert time.monotonic() - began < 7  # of ten seconds
    timer.join()
    assert find_model_problems(fetch_model(MODEL, ["vae"]), ["vae"]) == []


def test_a_branch_that_moved_on(
    hub: LocalHub, v1_shaped: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Files that stayed as they are need neither a download nor room, whatever the branch says."""
    before = fetch_model(MODEL, ["vae"])
    capsys.readouterr()
    hub.requests.clear()
    moved = copy_model(v1_shaped, tmp_path / "moved", "README.md")
    config = moved / "unet" / "config.json"
    text = config.read_text() + " "
    config.unlink()
    config.write_text(text)
    hub.repositories[MODEL], hub.commit = moved, "f" * 40
    assert fetch_model(MODEL, ["vae"]) == before  # nobody is asked
    after = fetch_model(MODEL, ["unet", "vae"])
    assert after.name == hub.commit
    assert (after / "unet" / "config.json").read_text() == text
    fetched = {request.rpartition(f"{hub.commit}/")[2] for request in contents(hub.requests)}
    assert fetched == {"unet/config.json", "unet/diffusion_pytorch_model.safetensors"}
    assert re.search(r"in all +9\.3 MB", capsys.readouterr().out)
    hub.commit = "e" * 40
    assert fetch_model(MODEL, ["unet", "vae"]) == after
    assert fetch_model(MODEL, ["unet", "vae"], revision=hub.commit).name == hub.commit
    assert capsys.readouterr().out == ""  # for nothing is fetched


def test_a_repository_in_shards(hub: LocalHub, v1_shaped: Path, tmp_path: Path) -> None:
    sharded = copy_model(v1_shaped, tmp_path / "sharded", f"{Path(VAE).stem}.*")
    whole = load_components(v1_shaped, device="cpu")
    whole.vae.save_pretrained(sharded / "vae", max_shard_size="1MB")
    hub.repositories["in/shards"] = sharded
    shards = sorted((sharded / "vae").glob("*-of-*.safetensors"))
    assert len(shards) > 2
    fetched = fetch_model("in/shards", ["vae"])
    assert len(list((fetched / "vae").glob("*-of-*.safetensors"))) == len(shards)
    vae = AutoencoderKL.from_pretrained(fetched, subfolder="vae")
    for name, weights in vae.state_dict().items():
        assert torch.equal(weights, whole.vae.state_dict()[name])
    shards[1].unlink()
    hub.commit = "f" * 40
    with pytest.raises(ModelError, match=rf"lacks something:\n.*{shards[1].name} is missing"):
        fetch_model("in/shards", ["vae"], revision=hub.commit)


def test_a_mirror_that_knows_names_alone(hub: LocalHub, v1_shaped: Path) -> None:
    hub.tells_sizes = False
    fetched = fetch_model(MODEL, ["vae"])
    assert (fetched / VAE).read_bytes() == (v1_shaped / VAE).read_bytes()


def test_our_own_mistakes_are_not_called_the_hubs(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistake(*args: object) -> None:
        raise TypeError("a mistake of ours")

    monkeypatch.setattr("sdhelpers.model.hub._announce", mistake)
    with pytest.raises(TypeError, match="a mistake of ours"):
        fetch_model(MODEL)


def test_a_model_of_another_kind_is_refused_before_anything_is_fetched(
    hub: LocalHub, v1_shaped: Path, tmp_path: Path
) -> None:
    hub.repositories["some/other"] = copy_model(v1_shaped, tmp_path / "other", "scheduler")
    message = r"no Stable Diffusion 1 model.*it has no scheduler/scheduler_config.json"
    with pytest.raises(ModelError, match=message):
        fetch_model("some/other")
    assert contents(hub.requests) == []


@pytest.mark.parametrize(
    ("parts", "variant", "message"),
    [
        ("vae", None, "parts must be some of"),
        (["vae", "brain"], None, "parts must be some of"),
        (["vae"], "fp8", "variant must be None or 'fp16'"),
    ],
)
def test_arguments_that_do_not_fit(parts: object, variant: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fetch_model(MODEL, parts, variant=variant)
