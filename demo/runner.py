"""One run from an empty platform to the report: load, plan, play, compare, tell."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo import checks, results
from demo.boss import Boss
from demo.cases import cases
from demo.checks import Check
from demo.day import Day
from demo.door import Door, Refused
from demo.load import Loader, NotLoaded
from demo.planning import Planned, Planning
from demo.platform import Platform
from demo.recompute.expected import Expected, expected
from demo.recompute.targets import select
from demo.rest import NotAtRest, Rest
from demo.schedule import Position, positions
from demo.stay import Stay
from demo.telling import links, table
from demo.world import World
from services.kit.errors import Error


class Runner:
    """The run. `begun` is the monotonic second of the command's start."""

    def __init__(self, platform: Platform, world: World, console: Console, begun: float) -> None:
        self._platform, self._world, self._console, self._begun = platform, world, console, begun
        self._phases: dict[str, float] = {}
        self._mark = begun
        self._stay = False
        self.checks: list[Check] = []

    async def all(self, *, stay: bool, keeping: bool) -> bool:
        """True when every check holds; with `stay` it returns only when it is interrupted."""
        self._stay = stay
        self._phase("servers and services")
        self._welcome()
        try:
            if keeping:
                self._channels()
                held = True
            else:
                held = await self._campaigns()
        except (NotAtRest, NotLoaded, Refused, Error, AssertionError) as problem:
            self._console.print(f"[red]demo: {problem}[/red]")
            return False
        if stay:
            await Stay(self._platform, self._world, self._console).flow()
        return held

    def _phase(self, name: str) -> None:
        now = time.monotonic()
        self._phases[name] = now - self._mark
        self._mark = now
        self._console.print(f"[green]✓[/green] {name} [dim]{self._phases[name]:.1f} s[/dim]")

    def _welcome(self) -> None:
        built = (self._platform.options.portal / "index.html").exists()
        self._console.print(f"Portal: [link={self._platform.url}]{self._platform.url}[/link]")
        if not built:
            self._console.print(
                "The portal was not built (no npm); the HTTP API and everything else is there."
            )
        signs = "  ".join(f"{name} {word}" for name, word in self._platform.passwords().items())
        self._console.print(f"Sign in as (name password): {signs}")

    def _channels(self) -> None:
        followers = self._world.people.phone[self._world.columns["data_plus_follower"] == 1]
        instructions = {case.code: case.instruction for case in cases() if case.instruction}
        self._platform.start_channels(followers, instructions)

    async def _campaigns(self) -> bool:
        world = self._world
        async with Door(self._platform.url, self._platform.passwords()) as door:
            with self._progress() as progress:
                await self._load(door, progress)
            self._phase("region loaded")
            self._channels()
            rest, boss = Rest(self._platform), Boss(self._platform, world)
            try:
                await rest.wait(120)
                planned = await self._plan(door)
                self._phase("eight cases planned and approved")
                # Recomputed beside the day: it reads the input, not the platform.
                recomputing = asyncio.create_task(asyncio.to_thread(expected, world))
                with self._progress() as progress:
                    task = progress.add_task("day", total=len(positions()))

                    def tell(position: Position, what: str) -> None:
                        done = positions().index(position)
                        progress.update(task, completed=done, description=f"{position.text} {what}")
                        if not self._console.is_terminal:  # no moving bar there: a line a position
                            self._console.print(f"{position.text} {what}")

                    day = Day(self._platform, world, door, planned, rest, boss, tell)
                    await day.play()
                    progress.update(task, completed=len(positions()), description="the day is over")
                self._phase("day played")
                self._console.print(
                    f"[dim]{rest.rounds} rests in {rest.seconds:.1f} s; waited for "
                    f"{', '.join(f'{who} {count}' for who, count in rest.most_waited_for())}[/dim]",
                    soft_wrap=True,
                )
                found = await results.gather(door, planned)
                target = await recomputing
                self._compare(target, found, planned, day, boss, rest)
                self._phase("recomputed and compared")
                await self._tell(door, target, found, planned)
            finally:
                await boss.stop()
                await rest.close()
        return all(item.ok for item in self.checks)

    async def _load(self, door: Door, progress: Progress) -> None:
        tasks: dict[str, Any] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        await Loader(self._platform, self._world, door, step).run()

    async def _plan(self, door: Door) -> dict[str, Planned]:
        planning = Planning(door)
        await planning.policy()
        planned = {}
        for case in cases():
            item = planned[case.case] = await planning.plan(case)
            mine = select(self._world, case)
            self.checks.append(
                checks.audience(case.case, item.audience_count, int(mine.matched.sum()), mine.excluded)
            )
        return planned

    def _compare(
        self,
        target: Expected,
        found: results.Results,
        planned: dict[str, Planned],
        day: Day,
        boss: Boss,
        rest: Rest,
    ) -> None:
        self.checks += checks.rows(target, found)
        self.checks += checks.conservation(found)
        self.checks.append(checks.funnels(target, found))
        self.checks.append(checks.lifts(target, found))
        self.checks.append(checks.levels(found))
        self.checks += checks.channels(self._world, target, self._platform.logs)
        self.checks.append(checks.planted(self._world))
        asked = sum(line.orders for line in target.lines.values())
        self.checks.append(
            checks.check(
                "signals taken in",
                checks.differences({"signals": target.signals}, {"signals": day.counts["signals"]}),
                f"{target.signals:,} signals",
            )
        )
        self.checks.append(
            checks.check(
                "orders recorded",
                [] if boss.recorded >= max(asked, target.spontaneous) else [f"only {boss.recorded}"],
                f"{boss.recorded:,} orders of the BOSS, {asked:,} owed to activities",
            )
        )
        self.checks.append(
            checks.check(
                "no dead letters",
                [] if not rest.dead_letters else [f"{rest.dead_letters} messages in the dead letters"],
                "every message was handled",
            )
        )
        self.checks.append(
            checks.check(
                "every launch has its trace",
                [case for case, item in planned.items() if len(item.trace_id) != 32],
                f"{len(planned)} traces",
            )
        )

    async def _tell(
        self, door: Door, target: Expected, found: results.Results, planned: dict[str, Planned]
    ) -> None:
        wall = time.monotonic() - self._begun
        report = {
            "activities": [
                {
                    "name": planned[case].case.name,
                    "case": case,
                    "code": planned[case].case.code,
                    "activity": planned[case].case.activity,
                    "touchpoint": touchpoint,
                    **dataclasses.asdict(row),
                    "trace_id": planned[case].trace_id,
                }
                for (case, touchpoint), row in found.rows.items()
            ],
            "checks": [dataclasses.asdict(item) for item in self.checks],
            "phases": {name: round(seconds, 2) for name, seconds in self._phases.items()},
            "seed": self._world.seed,
            "subscribers": self._world.count,
            "wall_seconds": round(wall, 2),
        }
        path = self._platform.options.report
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps(report, ensure_ascii=False, indent=1, default=_plain) + "\n", encoding="utf-8"
        )
        table(self._console, found, planned)
        bad = [item for item in self.checks if not item.ok]
        for item in self.checks if bad else []:
            mark = "[green]✓[/green]" if item.ok else "[red]✗[/red]"
            self._console.print(f"{mark} {item.name}: {item.detail}", soft_wrap=True)
        self._console.print(
            f"{len(self.checks) - len(bad)} of {len(self.checks)} checks hold; {wall:.0f} s; report: {path}",
            style="red" if bad else "green",
            soft_wrap=True,
        )
        await links(self._console, self._platform, door, self._world, target, planned, stay=self._stay)

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )


def _plain(value: Any) -> Any:
    if isinstance(value, np.integer):
        return int(value)
    raise TypeError(f"{type(value).__name__} in the report")
