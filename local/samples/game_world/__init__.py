"""A mobile game's players over 18 months, in the source contract, with a truth that only this package knows.

The world is made server by server (`players.py`, `simulation.py`), so that memory does not grow with the number of
players, and written as it is made. What every event would do to every inactive player is known exactly (`effects.py`,
`truth.py`); it is written only where `truth_folder` asks for it, and never into the folder that a product reads.
docs/game_world.md shows how lifelike the world is and what it leaves out.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from local.samples.game_world.campaigns import Campaign, plan_campaigns
from local.samples.game_world.parameters import AS_OF_DATE, CHANNELS, CONTACT, PLAYERS_PER_SERVER, VARIANTS
from local.samples.game_world.players import create_players
from local.samples.game_world.schemas import SCHEMAS
from local.samples.game_world.simulation import Server
from local.samples.game_world.tables import ServerTables, describe_events, describe_items, describe_server
from local.samples.game_world.truth import PLAYER_SCHEMA, TRUTH_SCHEMA, describe_players, describe_truth

__all__ = ["DEFAULT_AS_OF", "DESCRIPTION", "check_world", "simulate", "version", "write_source"]

DESCRIPTION = "A made-up mobile game: 18 months, six types of events, campaigns with control groups, a known truth"
DEFAULT_AS_OF = AS_OF_DATE
DEFAULT_PLAYERS = 20_000
DEFAULT_SEED = 1
DEFAULT_VARIANT = "slopes"
#: Settings of the world's own: the class that players chose is no column of the contract.
_SETTINGS = 'user_attributes = ["class"]\n'

_Writers = Mapping[str, pq.ParquetWriter]


def version(
    players: int = DEFAULT_PLAYERS, seed: int = DEFAULT_SEED, variant: str = DEFAULT_VARIANT, **_: object
) -> str:
    """Name what the written bytes depend on: the code of this package, its writer, and the options."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    libraries = f"numpy {np.__version__}, pyarrow {pa.__version__}"
    return f"code {code.hexdigest()[:12]}, {libraries}, {players} players, seed {seed}, variant {variant}"


def check_world(players: int, seed: int, variant: str) -> None:
    """Refuse a world that cannot be made, before anything is written or started for it.

    Raises:
        ValueError: for an unknown variant, no players, or a negative seed.
    """
    if variant not in VARIANTS:
        raise ValueError(f"There is no variant {variant!r} of the game world: use one of {', '.join(VARIANTS)}.")
    if players < 1:
        raise ValueError("A game world needs at least one player.")
    if seed < 0:
        raise ValueError(f"The seed of a game world must be 0 or more, not {seed}.")


def write_source(
    folder: Path,
    *,
    players: int = DEFAULT_PLAYERS,
    seed: int = DEFAULT_SEED,
    variant: str = DEFAULT_VARIANT,
    truth_folder: Path | None = None,
) -> None:
    """Write a world as one Parquet file a table of the source contract; the same bytes for the same arguments.

    Args:
        folder: where the source is written.
        players: how many players ever register, 1 or more.
        seed: another seed is another world, 0 or more.
        variant: how events work, one of VARIANTS.
        truth_folder: where the truth is written (`responses.parquet`, `players.parquet`, `channels.parquet`); nowhere
            when left out. It must not lie in the source's folder.

    Raises:
        ValueError: for a world that `check_world` refuses, or a truth that would lie in the source's folder.
    """
    check_world(players, seed, variant)
    if truth_folder is not None and truth_folder.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"The truth must not lie where the product reads: choose a folder outside {folder}.")
    folder.mkdir(parents=True, exist_ok=True)
    if truth_folder is not None:
        truth_folder.mkdir(parents=True, exist_ok=True)
    (folder / "rekindle.toml").write_text(_SETTINGS, encoding="utf-8")
    campaigns = plan_campaigns(random_state=_stream(seed, 0))
    with ExitStack() as stack:
        source = _open(stack, folder, SCHEMAS)
        truth: _Writers = {}
        if truth_folder is not None:
            truth = _open(stack, truth_folder, {"responses": TRUTH_SCHEMA, "players": PLAYER_SCHEMA})
            channels = pa.table({"channel": pa.array(CHANNELS), "reach": pa.array(CONTACT.reach)})
            pq.write_table(channels, truth_folder / "channels.parquet")
        source["events"].write_table(describe_events(campaigns, players))
        source["items"].write_table(describe_items())
        late = []
        for server, made in _simulate(players, seed, variant, campaigns):
            for table, rows in made.tables.items():
                source[table].write_table(rows.cast(SCHEMAS[table]))
            late.append(made.late_sessions)
            if truth:
                truth["responses"].write_table(describe_truth(server, made.user_ids))
                truth["players"].write_table(describe_players(server, made.user_ids))
        source["sessions"].write_table(pa.concat_tables([rows.cast(SCHEMAS["sessions"]) for rows in late]))


def simulate(players: int, seed: int, variant: str) -> Iterator[tuple[Server, ServerTables]]:
    """Make a world without writing it: each server after its last day, with its rows."""
    return _simulate(players, seed, variant, plan_campaigns(random_state=_stream(seed, 0)))


def _simulate(
    players: int, seed: int, variant: str, campaigns: tuple[Campaign, ...]
) -> Iterator[tuple[Server, ServerTables]]:
    for number, first in enumerate(range(0, players, PLAYERS_PER_SERVER), start=1):
        stream = _stream(seed, number)
        count = min(PLAYERS_PER_SERVER, players - first)
        server = Server(create_players(first, count, random_state=stream), campaigns, variant, stream)
        server.run()
        yield server, describe_server(server, campaigns)


def _stream(seed: int, number: int) -> np.random.Generator:
    """Give the world's plan (number 0) and each server a stream of random numbers of their own."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence((seed, number))))


def _open(stack: ExitStack, folder: Path, schemas: Mapping[str, pa.Schema]) -> _Writers:
    return {
        name: stack.enter_context(
            # Readers see plain columns: how this writer kept them in memory is nobody's business.
            pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd", store_schema=False)
        )
        for name, schema in schemas.items()
    }
