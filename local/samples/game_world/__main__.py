"""`python -m local.samples.game_world --players 20000 --seed 1 --variant slopes --folder X` writes a world into X."""

import argparse
import time
from pathlib import Path

from local.samples.game_world import DEFAULT_PLAYERS, DEFAULT_SEED, DEFAULT_VARIANT, write_source
from local.samples.game_world.parameters import VARIANTS


def main() -> None:
    """Write a world, and its truth where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m local.samples.game_world", description=__doc__)
    parser.add_argument("--players", type=int, default=DEFAULT_PLAYERS)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--variant", choices=VARIANTS, default=DEFAULT_VARIANT)
    parser.add_argument("--folder", type=Path, required=True, help="where the source contract is written")
    parser.add_argument("--truth-folder", type=Path, help="where the truth is written; nowhere when left out")
    chosen = parser.parse_args()
    begun = time.monotonic()
    try:
        write_source(
            chosen.folder,
            players=chosen.players,
            seed=chosen.seed,
            variant=chosen.variant,
            truth_folder=chosen.truth_folder,
        )
    except ValueError as error:
        parser.error(str(error))
    print(f"{chosen.players:,} players written to {chosen.folder} in {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main()
