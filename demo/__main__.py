"""`python -m demo once` runs the region's campaigns and checks every count; `run` does so and stays up."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import threading
import time

from rich.console import Console

from demo.options import Options
from demo.platform import Platform, wipe
from demo.runner import Runner
from demo.schedule import MORNING
from demo.world import World, at
from services.kit import embedded, errors


def main() -> int:
    """The exit status: 0 when every check holds."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("what", choices=["once", "run"])
    what = parser.parse_args().what
    console = Console(stderr=True, highlight=False)
    try:
        options = Options.read()
    except ValueError as problem:
        console.print(f"demo: {problem}")
        return 2
    begun = time.monotonic()
    keeping = what == "run" and options.keep and (options.data / "clock").exists()
    world = World(options.subscribers, options.seed)
    # People are generated while the servers start.
    generating = threading.Thread(target=world.prepare, daemon=True)
    generating.start()
    # Ctrl-C and SIGTERM end the run in order: the platform is stopped, nothing is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    platform: Platform | None = None
    try:
        if not keeping:
            wipe(options.data)
        platform = Platform(options, at(MORNING), lambda line: console.print(f"[dim]{line}[/dim]"))
        platform.start()
        generating.join()
        runner = Runner(platform, world, console, begun)
        held = asyncio.run(runner.all(stay=what == "run", keeping=keeping))
        return 0 if held else 1
    except (errors.Error, embedded.EmbeddedError) as problem:
        console.print(f"[red]demo: {problem}[/red]")
        return 1
    except KeyboardInterrupt:
        console.print("ended")
        return 0 if what == "run" and platform is not None else 130
    finally:
        if platform is not None:
            with contextlib.suppress(KeyboardInterrupt):
                platform.stop()


if __name__ == "__main__":
    sys.exit(main())
