"""Stage 0, where the machine has many cores: render the scenes and keep them on disk, 49 kB each.

Stage 2 renders what is not there. So this can run beside stage 1, which keeps a GPU busy and leaves
the cores idle.

Run: python -m training.render_scenes
"""

import argparse

from training.engine.options import add_settings_arguments, read_settings
from training.engine.settings import SMOKE_SETTINGS, CacheSettings
from training.stages.latent_cache import render_scenes


def main() -> None:
    """Render as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_settings_arguments(parser)
    arguments = parser.parse_args()
    settings = read_settings(arguments, CacheSettings(), SMOKE_SETTINGS["cache"])
    render_scenes(settings, arguments.folder)


if __name__ == "__main__":
    main()
