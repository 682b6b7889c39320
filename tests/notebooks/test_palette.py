import numpy as np
from PIL import Image

from tools.palette import reduce_colours

SIDE = 128


def stored(values: np.ndarray) -> np.ndarray:
    """Give what a reader sees of (H, W, 3) values once they were stored."""
    result = reduce_colours(Image.fromarray(values.astype(np.uint8)))
    assert result.mode == "P"
    return np.asarray(result.convert("RGB"), dtype=float)


def test_few_colours_stay_as_they_are() -> None:
    values = np.zeros((SIDE, SIDE, 3))
    values[:64], values[64:, :64], values[64:, 64:] = (255, 255, 255), (200, 30, 60), (10, 90, 170)
    assert np.abs(stored(values) - values).max() <= 1


def test_white_stays_white_beside_almost_white() -> None:
    values = np.full((SIDE, SIDE, 3), 255)
    values[32:96, 32:96] = np.arange(190, 254)[:, None, None]
    assert (stored(values)[:32] == 255).all()


def test_a_slow_gradient_keeps_its_mean_everywhere() -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    values = np.stack([rows + 60, columns + 60, 255 - rows / 2 - columns / 2], axis=-1).round()
    blocks = (stored(values) - values).reshape(8, SIDE // 8, 8, SIDE // 8, 3).mean((1, 3))
    assert np.abs(blocks).max() < 3


def test_flat_cells_get_no_dots() -> None:
    cells = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    shown = stored(cells.repeat(4, axis=0).repeat(4, axis=1)).reshape(32, 4, 32, 4, 3)
    assert (shown.max((1, 3)) == shown.min((1, 3))).all()
    assert len(np.unique(shown[:, 0, :, 0].reshape(-1, 3), axis=0)) > 100
