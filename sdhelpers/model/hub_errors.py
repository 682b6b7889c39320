"""What goes wrong between here and the Hugging Face hub, in words that say what to do."""

import errno
import json
import os
import re

from sdhelpers.model.known import KNOWN_MODELS, SD_V1_4

_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)

# By name, for the hub's client changed its HTTP library twice (requests, httpx, httpx2).
_NO_NETWORK = {"ConnectError", "ConnectionError", "TimeoutException", "NetworkError", "ProxyError"}
_NO_NETWORK |= {"UnsupportedProtocol"}  # HF_ENDPOINT without its https://
_NOT_THE_HUB = {"JSONDecodeError", "FileMetadataError"}
_CUT_OFF = {"RemoteProtocolError", "ReadError", "ChunkedEncodingError", "IncompleteRead"}

# hf_xet, which fetches large files, says the system's number only in its text.
_XET_NUMBER = re.compile(r"\(os error (\d+)\)")
_XET_CUT_OFF = "CAS Client Error"
_WINDOWS = {5: errno.EACCES, 39: errno.ENOSPC, 112: errno.ENOSPC} if os.name == "nt" else {}
_BUILT_IN = "The built-in model needs no network: load_components()."


class ModelError(OSError):
    """A model can't be had: the message says which, why, and what to do."""


def hub_failures() -> tuple[type[Exception], ...]:
    """List what the hub's client raises when the hub, the network or the disk fails it."""
    from huggingface_hub import errors

    # The last: an answer that is none of the hub's, such as the login page of a network.
    return OSError, errors.HTTPError, json.JSONDecodeError


def explain(error: BaseException, model: str, revision: str, cache: str) -> ModelError:
    """Turn an error of the hub's client, or of the disk below it, into one that helps.

    Args:
        error: what was raised.
        model: id on the hub.
        revision: that was asked for.
        cache: folder that was written to.

    Returns:
        What to raise instead, from the error.
    """
    why, what_to_do = _diagnose(error, model, revision, cache)
    return ModelError(f"{model!r} can't be had now: {why}\nWhat to do: {what_to_do}\n{_BUILT_IN}")


def _diagnose(error: BaseException, model: str, revision: str, cache: str) -> tuple[str, str]:
    """Give (why, what to do)."""
    from huggingface_hub import errors

    causes = list(_chain(error))
    for kind, find in (
        (errors.GatedRepoError, _say_gated),  # a subclass of the next, so it comes first
        (errors.RepositoryNotFoundError, _say_no_model),
        (errors.DisabledRepoError, _say_no_model),  # taken down
        (errors.RevisionNotFoundError, _say_no_revision),
        (errors.RemoteEntryNotFoundError, _say_no_file),
        (errors.OfflineModeIsEnabled, _say_offline),
        (errors.HfHubHTTPError, _say_status),
    ):
        for cause in causes:
            if isinstance(cause, kind):
                return find(cause, model, revision)
    return _diagnose_system(causes, cache)


def _diagnose_system(causes: list[BaseException], cache: str) -> tuple[str, str]:
    """Give (why, what to do) for what is no answer of the hub: network and disk."""
    names = {base.__name__ for cause in causes for base in type(cause).__mro__}
    text = "\n".join(map(str, causes))
    codes = {getattr(cause, "errno", None) for cause in causes}
    codes |= {_WINDOWS.get(code, code) for code in map(int, _XET_NUMBER.findall(text))}
    is_network = bool(names & (_NO_NETWORK | _CUT_OFF)) or _XET_CUT_OFF in text
    if codes & set(_FULL):
        return (
            f"the disk is full. It was written to {cache}.",
            "make room, or set HF_HOME to a folder on a larger disk and start again; what was "
            "fetched whole is kept.",
        )
    if codes & set(_FORBIDDEN) and not is_network:  # a firewall forbids sockets, too
        return (
            f"there is no right to write to the cache folder {cache}.",
            "set HF_HOME to a folder of your own, or change the folder's rights.",
        )
    if errno.ENOTDIR in codes:
        return (
            f"the cache {cache} is no folder, or lies in what is none.",
            "set HF_HOME to a folder of your own.",
        )
    if "Consistency check failed" in text or _XET_CUT_OFF in text or names & _CUT_OFF:
        return (
            f"the download broke off: {_first_line(causes[0])}",
            "start again; files that were fetched whole are kept.",
        )
    if names & _NOT_THE_HUB:
        return (
            "what answered was not the hub: perhaps the login page of this network.",
            "open any page in a browser, and check HF_ENDPOINT if you set it; then start again.",
        )
    if names & _NO_NETWORK or "LocalEntryNotFoundError" in names:
        return (
            "there is no way to the hub from here, and it is not in the cache.",
            "check the network, a proxy or firewall, and HF_ENDPOINT if you set it; then start "
            "again.",
        )
    return f"{type(causes[0]).__name__}: {_first_line(causes[0])}", "start again."


def _say_gated(error: BaseException, model: str, revision: str) -> tuple[str, str]:
    return (
        "it is gated: its authors let only those fetch it who accept their terms.",
        f"open https://huggingface.co/{model}, accept the terms there, then say `hf auth login` "
        f"in a terminal. Or take one that is open, such as {SD_V1_4!r}.",
    )


def _say_no_model(error: BaseException, model: str, revision: str) -> tuple[str, str]:
    known = ", ".join(one.name for one in KNOWN_MODELS.values() if not one.is_built_in)
    return (
        "the hub has no model of this name, or hides it (models are renamed and taken down).",
        f"check the spelling. These are meant for the notebooks: {known}. For a private one say "
        "`hf auth login` in a terminal.",
    )


def _say_no_revision(error: BaseException, model: str, revision: str) -> tuple[str, str]:
    return (
        f"it has no revision {revision!r}.",
        f"leave revision out, or take one that is listed on https://huggingface.co/{model}/tree/"
        "main.",
    )


def _say_no_file(error: BaseException, model: str, revision: str) -> tuple[str, str]:
    return (
        f"a file is no longer there: {_first_line(error)}",
        "start again, for the list of files may have changed in between; if it stays so, take "
        f"another revision or another model, such as {SD_V1_4!r}.",
    )


def _say_offline(error: BaseException, model: str, revision: str) -> tuple[str, str]:
    return (
        "it is not in the cache, and HF_HUB_OFFLINE forbids asking the hub.",
        "unset HF_HUB_OFFLINE, restart Python, and load it once with a network.",
    )


def _say_status(error: BaseException, model: str, revision: str) -> tuple[str, str]:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    if status == 429:
        wait = response.headers.get("Retry-After")
        when = f"in {wait} seconds" if wait else "in some minutes"
        return (
            "the hub has had too many requests from here (429).",
            f"start again {when}; logged in (`hf auth login`) you may ask more often.",
        )
    if status >= 500:
        return (
            f"the hub itself has trouble ({status}).",
            "start again later; https://status.huggingface.co says how it is.",
        )
    if status in (401, 403):
        return (
            f"the hub refuses ({status}): {_first_line(error)}",
            "say `hf auth login` in a terminal, with a token that may read this model.",
        )
    return f"the hub answered {status}: {_first_line(error)}", "start again, or check HF_ENDPOINT."


def _chain(error: BaseException | None) -> "list[BaseException]":
    """List an error and what caused it."""
    found = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _first_line(error: BaseException) -> str:
    """Give the first line that says something, without the client's advice on its own options."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith("Please retry with")]
    return lines[0] if lines else type(error).__name__
