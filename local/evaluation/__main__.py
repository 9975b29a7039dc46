"""`python -m local.evaluation --variant slopes --players 20000 --seed 1` prints what the product's plan is worth."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from local.evaluation.run import Evaluation, World, evaluate_world, postgres
from local.samples import game_world
from local.samples.game_world.parameters import VARIANTS

_PLANS = ("random", "likeliest", "analyst", "product", "product_as_shipped", "attainable", "oracle")
_TITLES = {
    "random": "random",
    "likeliest": "highest chance to return",
    "analyst": "analyst's baseline (T-learner, greedy)",
    "product": "Rekindle",
    "product_as_shipped": "Rekindle with holdout, controls, exploration",
    "attainable": "attainable ceiling",
    "oracle": "oracle",
}


def describe(evaluation: Evaluation) -> str:
    """Lay an evaluation out for a person."""
    world = evaluation.world
    tuned = world.was_tuned_on
    lines = [
        f"{world.variant}, {world.players:,} players, seed {world.seed}: {evaluation.users:,} inactive, "
        f"{evaluation.contacts:,} invited by Rekindle" + (" (methods were tuned on this world)" if tuned else ""),
        f"{'plan':<46}{'true value':>12}{'of attainable':>15}",
    ]
    for plan in _PLANS:
        value = float(getattr(evaluation, plan))
        share = f"{value / evaluation.attainable:.0%}" if evaluation.attainable > 0 else "-"
        lines.append(f"{_TITLES[plan]:<46}{value:>12,.2f}{share:>15}")
    lines.append(
        f"Rekindle expects {evaluation.expected:,.2f}. Chance to return if not contacted: calibration error "
        f"{evaluation.calibration_error:.4f}, correlation with the truth {evaluation.return_correlation:.2f}; "
        f"uplift: {evaluation.uplift_correlation:.2f}; {evaluation.interval_coverage:.0%} of the true uplifts lie in "
        "their 95 % intervals."
    )
    if evaluation.segment_calibration_errors:
        worst = max(evaluation.segment_calibration_errors.items(), key=lambda item: item[1])
        lines.append(f"Calibration error in the worst segment ({worst[0]}): {worst[1]:.4f}.")
    if evaluation.segment_money:
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in sorted(evaluation.segment_money.items()))
        lines.append(f"Money of a return by itself, expected over true: {ratios}.")
    lines.append("Seconds: " + ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in evaluation.seconds.items()))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate the chosen worlds one after the other."""
    parser = argparse.ArgumentParser(prog="make evaluate ARGS=", description=__doc__)
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--players", nargs="+", type=int, default=[20_000])
    parser.add_argument("--seed", nargs="+", type=int, default=[1])
    parser.add_argument("--folder", type=Path, help="where worlds and databases are kept; thrown away when left out")
    parser.add_argument("--json", type=Path, help="a file to which one line of JSON is added for each world")
    parser.add_argument("--notes", action="store_true", help="also print what the product's stages reported")
    chosen = parser.parse_args(arguments)
    # Before a server is started: a world in the middle of many that cannot be made would cost all before it.
    try:
        for players in chosen.players:
            for seed in chosen.seed:
                game_world.check_world(players, seed, chosen.variant[0])
    except ValueError as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory(prefix="rekindle-evaluation-") as temporary:
        folder = chosen.folder.resolve() if chosen.folder else Path(temporary)
        # As root the server runs as another user, who has to get in.
        Path(temporary).chmod(0o711)
        with postgres(folder) as server:
            for players in chosen.players:
                for variant in chosen.variant:
                    for seed in chosen.seed:
                        evaluation = evaluate_world(World(variant, players, seed), server, folder)
                        print(describe(evaluation), flush=True)
                        if chosen.notes:
                            print(*evaluation.notes, sep="\n")
                        print(flush=True)
                        if chosen.json:
                            with chosen.json.open("a", encoding="utf-8") as file:
                                file.write(evaluation.to_json() + "\n")


if __name__ == "__main__":
    main()
