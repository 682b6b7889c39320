"""A UNet that answers at once, or only when it is let: for tests of what is around it."""

import threading

import torch

from sdhelpers.model.parts import Components

PATIENCE = 60.0  # seconds: the most that a test waits for what should take none


class FakeUNet(torch.nn.Module):
    """Predict something that depends on latents, timestep and text.

    Attributes:
        num_calls: begun so far.
        threads: ids of the threads that called.
        error: raised by each call; None: none.
        factor: of all predictions; NaN for a model that overflows.
    """

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, config: dict) -> None:
        super().__init__()
        self.config = config
        self.num_calls = 0
        self.threads: set[int] = set()
        self.error: Exception | None = None
        self.factor = 1.0
        self._is_open = threading.Event()
        self._is_open.set()
        self._arrived = threading.Semaphore(0)

    def close_gate(self) -> None:
        """Let each call from now on wait."""
        self._is_open.clear()

    def open_gate(self) -> None:
        """Let all calls through."""
        self._is_open.set()

    def wait_for_call(self) -> None:
        """Wait until one more call has begun while the gate was closed."""
        assert self._arrived.acquire(timeout=PATIENCE)

    def forward(
        self, sample: torch.Tensor, t: torch.Tensor, encoder_hidden_states: torch.Tensor, **options
    ) -> tuple[torch.Tensor]:
        self.num_calls += 1
        self.threads.add(threading.get_ident())
        if not self._is_open.is_set():
            self._arrived.release()
            assert self._is_open.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        text = encoder_hidden_states[:, :, :8].mean(dim=(1, 2))
        return (self.factor * (0.7 * sample + 3 * text[:, None, None, None] + t / 4000),)


def with_fake_unet(components: Components) -> Components:
    """Put a fake in the UNet's place."""
    return components._replace(unet=FakeUNet(components.unet.config))
