"""The contrast over several processes: the same gradients as one process with all the pairs."""

import os

import pytest
import torch
import torch.multiprocessing
from accelerate import Accelerator, PartialState
from torch import nn

from training.stages.contrast import contrastive_loss, gather_with_gradient

NUM_PROCESSES, NUM_PAIRS, WIDTH = 2, 3, 5


class TwoTowers(nn.Module):
    """Two linear towers and a scale, in place of captions' and pictures' networks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.text, self.image = nn.Linear(WIDTH, 4), nn.Linear(WIDTH, 4)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, captions, pictures):
        return self.text(captions), self.image(pictures), self.scale


def make_pairs():
    source = torch.Generator().manual_seed(1)
    return torch.randn(2, NUM_PROCESSES * NUM_PAIRS, WIDTH, generator=source)


def gradients(model, captions, pictures, accelerator):
    text, image, scale = model(captions, pictures)
    text, image = (gather_with_gradient(part, accelerator) for part in (text, image))
    accelerator.backward(contrastive_loss(scale * text @ image.T))
    return {
        name.removeprefix("module."): parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }


def work(rank, folder):
    """Be one of the processes."""
    torch.set_num_threads(1)
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": NUM_PROCESSES}
    places |= {"MASTER_ADDR": "localhost", "MASTER_PORT": 0}  # asked for; they met at the file
    os.environ.update({name: str(value) for name, value in places.items()})  # accelerate looks here
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=NUM_PROCESSES
    )
    accelerator = Accelerator(cpu=True)
    rows = slice(rank * NUM_PAIRS, (rank + 1) * NUM_PAIRS)
    captions, pictures = make_pairs()[:, rows]
    found = gradients(accelerator.prepare(TwoTowers()), captions, pictures, accelerator)
    torch.save((accelerator.num_processes, found), f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    # The group's threads outlive destroy_process_group once a model was wrapped. One that frees a
    # tensor while Python shuts down aborts the process (once in some 200 runs), so: no shutdown.
    os._exit(0)


@pytest.mark.thorough
def test_two_processes_find_the_gradients_of_one_with_all_pairs(tmp_path):
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=NUM_PROCESSES)
    PartialState._reset_state()
    expected = gradients(TwoTowers(), *make_pairs(), Accelerator(cpu=True))
    assert len(expected) == 5
    for rank in range(NUM_PROCESSES):
        num_processes, found = torch.load(tmp_path / f"{rank}.pt")
        assert num_processes == NUM_PROCESSES
        for name, gradient in expected.items():
            assert torch.allclose(found[name], gradient, atol=1e-6), name


def test_one_process_keeps_its_features_and_their_gradient():
    features = torch.ones(2, 3, requires_grad=True)
    assert gather_with_gradient(features, Accelerator(cpu=True)) is features
