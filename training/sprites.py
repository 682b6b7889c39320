"""Fetch and verify the sprites that the scenes are made of, once: Fluent Emoji 3D by Microsoft.

Run: python -m training.sprites
Or, where npm is not at hand, with the package's archive: --tar FILE
"""

import argparse

from training.world.nouns import NOUNS
from training.world.sprites import PACKAGE, fetch_sprites


def main() -> None:
    """Fetch the sprites and say where they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tar", help=f"archive of {PACKAGE}, where npm is not at hand")
    arguments = parser.parse_args()
    print(f"{len(NOUNS)} sprites in {fetch_sprites(arguments.tar)}")


if __name__ == "__main__":
    main()
