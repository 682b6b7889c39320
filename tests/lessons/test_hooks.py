"""What is recorded is true, what is silenced is silent, and all of it is put back."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from sdhelpers.lessons.hooks import ShapeRow, find_modules, record_shapes, silence, silence_skips
from sdhelpers.model.parts import Components


def num_hooks(network: nn.Module) -> int:
    modules = list(network.modules())
    assert modules
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


@pytest.fixture
def unet(components: Components) -> UNet2DConditionModel:
    unet = components.unet
    before = num_hooks(unet)
    yield unet
    assert num_hooks(unet) == before, "a hook was left behind"


@pytest.fixture
def call(unet: UNet2DConditionModel):
    """Ask the UNet about fixed latents and some embeddings."""
    generator = torch.Generator().manual_seed(0)
    side = unet.config.sample_size
    latents = torch.randn((1, unet.config.in_channels, side, side), generator=generator)
    embeddings = torch.randn((2, 5, unet.config.cross_attention_dim), generator=generator)

    @torch.no_grad()
    def ask(which: int = 0) -> torch.Tensor:
        return unet(latents, 400, encoder_hidden_states=embeddings[which : which + 1]).sample

    return ask


def test_records_true_shapes_in_order() -> None:
    network = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    modules = {"all": network, "last": network[2], "first": network[0]}
    with record_shapes(modules) as rows:
        assert rows == []
        network(torch.zeros(7, 3))
    network(torch.zeros(9, 3))
    assert rows == [
        ShapeRow("first", "Linear", (7, 3), (7, 5)),
        ShapeRow("last", "Linear", (7, 5), (7, 2)),
        ShapeRow("all", "Sequential", (7, 3), (7, 2)),
    ]
    assert num_hooks(network) == 0


def test_a_module_that_runs_twice_is_recorded_twice() -> None:
    layer = nn.Linear(4, 4)
    with record_shapes({"layer": layer}) as rows:
        nn.Sequential(layer, layer)(torch.zeros(1, 4))
    assert len(rows) == 2


def test_shapes_of_the_unet(unet: UNet2DConditionModel, call) -> None:
    """Blocks take keywords and give tuples; the first and last shapes are those of the latents."""
    blocks = {f"down {index}": block for index, block in enumerate(unet.down_blocks)}
    modules = {"in": unet.conv_in, **blocks, "middle": unet.mid_block, "out": unet.conv_out}
    with record_shapes(modules) as rows:
        answer = call()
    assert [row.name for row in rows] == list(modules)
    assert rows[0].input_shape == rows[-1].output_shape == tuple(answer.shape)
    channels = [row.output_shape[1] for row in rows[1:-2]]
    assert channels == list(unet.config.block_out_channels)
    assert rows[-2].input_shape == rows[-3].output_shape == rows[-2].output_shape


def test_no_tensor_has_no_shape() -> None:
    class Speaks(nn.Module):
        def forward(self, word: str) -> dict:
            return {"said": word, "length": torch.zeros(len(word))}

    speaks = Speaks()
    with record_shapes({"it": speaks}) as rows:
        speaks("yes")
    assert rows == [ShapeRow("it", "Speaks", None, (3,))]


def test_silence_is_the_same_as_zero_weights(unet: UNet2DConditionModel, call) -> None:
    """The oracle: an attention whose last layer is all zeros adds nothing."""
    (attention, *_) = find_modules(unet, "attn2").values()
    with silence(attention):
        silenced = call()
    last = attention.to_out[0]
    kept = last.weight.detach().clone(), last.bias.detach().clone()
    try:
        with torch.no_grad():
            last.weight.zero_()
            last.bias.zero_()
        expected = call()
    finally:
        with torch.no_grad():
            last.weight.copy_(kept[0])
            last.bias.copy_(kept[1])
    torch.testing.assert_close(silenced, expected, atol=0, rtol=0)
    assert (silenced - call()).abs().max() > 1e-4


def test_without_cross_attention_the_unet_is_deaf(unet: UNet2DConditionModel, call) -> None:
    assert (call(0) - call(1)).abs().max() > 1e-3
    with silence(*find_modules(unet, "attn2").values()):
        torch.testing.assert_close(call(0), call(1), atol=0, rtol=0)


def test_silence_takes_tuples_and_leaves_the_input_alone() -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple:
            return x, [x + 1]

    pair, x = Pair(), torch.ones(2)
    with silence(pair):
        first, (second,) = pair(x)
    assert first.tolist() == second.tolist() == [0, 0]
    assert x.tolist() == [1, 1]


def test_what_is_no_tensor_can_not_be_silenced() -> None:
    class Speaks(nn.Module):
        def forward(self, word: str) -> str:
            return word

    with silence(speaks := Speaks()), pytest.raises(TypeError, match="got str"):
        speaks("yes")
    assert num_hooks(speaks) == 0


def zero_the_skips(unet: UNet2DConditionModel, level: int):
    """The oracle, written down another way: wrap the block's own forward."""
    block = unet.up_blocks[len(unet.up_blocks) - 1 - level]
    forward = block.forward

    def without(*args, res_hidden_states_tuple, **kwargs):
        zeros = tuple(0 * skip for skip in res_hidden_states_tuple)
        return forward(*args, res_hidden_states_tuple=zeros, **kwargs)

    return block, without


@pytest.mark.parametrize("level", [0, 1, 2])
def test_silenced_skips_are_zeros(unet, call, monkeypatch, level: int) -> None:
    with silence_skips(unet, level):
        silenced = call()
    block, without = zero_the_skips(unet, level)
    monkeypatch.setattr(block, "forward", without)
    torch.testing.assert_close(silenced, call(), atol=0, rtol=0)
    monkeypatch.undo()
    assert (silenced - call()).abs().max() > 1e-4


def test_levels_count_from_the_finest(unet: UNet2DConditionModel, call) -> None:
    sizes = {}
    for level in range(len(unet.up_blocks)):
        block = unet.up_blocks[len(unet.up_blocks) - 1 - level]
        with record_shapes({"block": block}) as rows:
            call()
        sizes[level] = rows[0].input_shape[-1]
    assert sizes[0] == max(sizes.values()) == unet.config.sample_size
    assert sizes[len(sizes) - 1] == min(sizes.values())


def test_no_level_means_all(unet: UNet2DConditionModel, call) -> None:
    with silence_skips(unet):
        everything = call()
    with silence_skips(unet, *range(len(unet.up_blocks))):
        torch.testing.assert_close(everything, call(), atol=0, rtol=0)


@pytest.mark.parametrize(
    "enter",
    [
        lambda unet: record_shapes({"middle": unet.mid_block}),
        lambda unet: silence(unet.mid_block, unet.conv_out),
        lambda unet: silence_skips(unet),
    ],
)
def test_put_back_even_after_an_error(unet: UNet2DConditionModel, call, enter) -> None:
    before = call()
    with pytest.raises(KeyError), enter(unet):
        raise KeyError
    torch.testing.assert_close(call(), before, atol=0, rtol=0)
    assert num_hooks(unet) == 0


def test_find_modules(unet: UNet2DConditionModel) -> None:
    found = find_modules(unet, "attn2")
    assert all(name.endswith(".attn2") for name in found)
    assert all(unet.get_submodule(name) is module for name, module in found.items())
    assert len(found) == sum(name.endswith(".attn2") for name, _ in unet.named_modules())


def test_bad_input(unet: UNet2DConditionModel) -> None:
    with pytest.raises(ValueError, match="at least one"), record_shapes({}):
        pass
    with pytest.raises(ValueError, match="at least one"), silence():
        pass
    with pytest.raises(ValueError, match=r"levels 0 to 2, got \[3\]"), silence_skips(unet, 0, 3):
        pass
    with pytest.raises(ValueError, match="no module whose name ends in 'attn9'"):
        find_modules(unet, "attn9")
