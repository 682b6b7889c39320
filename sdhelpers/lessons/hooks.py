"""Look into a network while it runs, and switch parts of it off; everything is put back after.

PyTorch calls a *hook* when a module has run (or is about to), and lets it see or replace what went
in and what came out. Each function here is a context manager: the hooks are there inside the
`with`, and gone after it, even if the code inside raised an error.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

Nested = torch.Tensor | tuple | list | dict


class ShapeRow(NamedTuple):
    """What one module took and gave: its name, its class and two shapes (None: no tensor)."""

    name: str
    kind: str
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None


@contextmanager
def record_shapes(modules: Mapping[str, torch.nn.Module]) -> Iterator[list[ShapeRow]]:
    """Record the shapes of all that modules take and give, in the order in which they finish.

    Args:
        modules: name -> module. A module that runs twice is recorded twice.

    Returns:
        A context manager that gives a list, empty at first, that fills while the network runs.
        Of several tensors (a tuple, a dict) the first one counts.

    Raises:
        ValueError: if there is no module.
    """
    if not modules:
        raise ValueError("record_shapes needs at least one module, such as {'middle': mid_block}.")
    rows: list[ShapeRow] = []

    def hook_for(name: str) -> object:
        def hook(module: torch.nn.Module, args: tuple, kwargs: dict, output: Nested) -> None:
            given = _first_shape([*args, *kwargs.values()])
            rows.append(ShapeRow(name, type(module).__name__, given, _first_shape(output)))

        return hook

    handles = [
        module.register_forward_hook(hook_for(name), with_kwargs=True)
        for name, module in modules.items()
    ]
    try:
        yield rows
    finally:
        _remove(handles)


@contextmanager
def silence(*modules: torch.nn.Module) -> Iterator[None]:
    """Let modules answer with zeros for a while.

    A module whose answer is *added* to what runs past it, such as an attention, is switched off
    by this. One that everything runs through, such as a whole block, stops everything.

    Args:
        modules: each gives a tensor, or a tuple of them. They still compute; weights are unchanged.

    Raises:
        ValueError: if there is no module.
    """
    if not modules:
        raise ValueError("silence needs at least one module.")

    def hook(module: torch.nn.Module, args: tuple, output: Nested) -> Nested:
        return _zeros_like(output)

    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        _remove(handles)


@contextmanager
def silence_skips(unet: "UNet2DConditionModel", *levels: int) -> Iterator[None]:
    """Let the up blocks of a UNet find zeros where the skip connections used to arrive.

    Args:
        unet: any whose up blocks take `res_hidden_states_tuple`, as all of Stable Diffusion do.
        levels: which, counted by resolution: 0 is the finest, the one of the latents themselves.
            None given: all of them.

    Raises:
        ValueError: if there is no such level.
    """
    num_levels = len(unet.up_blocks)
    wrong = [level for level in levels if level not in range(num_levels)]
    if wrong:
        raise ValueError(f"This UNet has levels 0 to {num_levels - 1}, got {wrong}.")

    def hook(module: torch.nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        skips = kwargs["res_hidden_states_tuple"]
        return args, kwargs | {"res_hidden_states_tuple": _zeros_like(skips)}

    # The up blocks run from the coarsest level to the finest.
    handles = [
        unet.up_blocks[num_levels - 1 - level].register_forward_pre_hook(hook, with_kwargs=True)
        for level in (levels or range(num_levels))
    ]
    try:
        yield
    finally:
        _remove(handles)


def find_modules(network: torch.nn.Module, ending: str) -> dict[str, torch.nn.Module]:
    """Find the modules of a network by the last part of their name.

    Args:
        network: for example a UNet.
        ending: for example "attn2", the cross-attentions of Stable Diffusion's UNet.

    Returns:
        full name -> module, in the network's own order.

    Raises:
        ValueError: if there is none.
    """
    found = {
        name: module
        for name, module in network.named_modules()
        if name.rpartition(".")[2] == ending
    }
    if not found:
        raise ValueError(f"{type(network).__name__} has no module whose name ends in {ending!r}.")
    return found


def _first_shape(value: object) -> tuple[int, ...] | None:
    """Give the shape of the first tensor in something nested, None if there is none."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        shapes = map(_first_shape, value)
        return next((shape for shape in shapes if shape is not None), None)
    return None


def _zeros_like(value: Nested) -> Nested:
    """Replace each tensor in a tuple or list of them by zeros."""
    if isinstance(value, torch.Tensor):
        return torch.zeros_like(value)
    if isinstance(value, tuple | list):
        return type(value)(map(_zeros_like, value))
    raise TypeError(f"Only tensors and tuples of them can be silenced, got {type(value).__name__}.")


def _remove(handles: list) -> None:
    """Take hooks away again."""
    for handle in handles:
        handle.remove()
