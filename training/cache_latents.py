"""Stage 2: render scenes, encode them with the trained VAE and keep the latents on disk.

Run: python -m training.cache_latents
Or, with a VAE that is there already instead of stage 1: --vae sdhelpers/tiny_sd
"""

import argparse
from pathlib import Path

from training.engine.options import (
    add_precision_argument,
    add_settings_arguments,
    make_accelerator,
    read_settings,
)
from training.engine.settings import SMOKE_SETTINGS, CacheSettings
from training.stages.latent_cache import cache_latents, take_vae


def main() -> None:
    """Write the cache as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings_arguments(parser)
    add_precision_argument(parser)
    parser.add_argument("--vae", type=Path, help="a model folder whose VAE the run shall use")
    arguments = parser.parse_args()
    accelerator = make_accelerator(arguments.precision)
    if arguments.vae is not None and accelerator.is_main_process:
        take_vae(arguments.vae, arguments.folder)
    accelerator.wait_for_everyone()
    settings = read_settings(arguments, CacheSettings(), SMOKE_SETTINGS["cache"])
    cache_latents(settings, arguments.folder, accelerator)


if __name__ == "__main__":
    main()
