"""What is shown at the end: the table, and things to try."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from demo.door import Door, Refused
from demo.planning import Planned
from demo.platform import Platform
from demo.recompute.expected import Expected
from demo.results import Results
from demo.simulators import log
from demo.world import World

OUTCOMES = {
    "delivered": "delivered", "shown": "shown", "accepted": "accepted", "declined": "declined",
    "failed": "failed", "rejected": "refused", "expired": "expired", "unknown": "unknown",
}  # fmt: skip


def table(console: Console, found: Results, planned: dict[str, Planned]) -> None:
    """One row an activity and touchpoint."""
    made = Table(title="Campaigns of the day", title_justify="left", header_style="bold")
    made.add_column("case")
    made.add_column("activity", overflow="fold")
    made.add_column("touchpoint")
    for name in ("target", "control", "excluded", "handed", "suppressed", "waiting"):
        made.add_column(name, justify="right")
    made.add_column("settled", overflow="fold")
    for name in ("clicks", "replies", "orders"):
        made.add_column(name, justify="right")
    for (case, touchpoint), row in found.rows.items():
        settled = " ".join(f"{OUTCOMES.get(k, k)} {v:,}" for k, v in sorted(row.settled.items()))
        made.add_row(
            case,
            planned[case].case.name,
            touchpoint,
            f"{row.target:,}",
            f"{row.control or row.population_control:,}",
            f"{sum(row.excluded.values()):,}",
            f"{row.handed:,}",
            f"{sum(row.suppressed.values()):,}",
            f"{row.waiting + row.held:,}",
            settled,
            f"{row.clicks:,}",
            f"{row.replies:,}",
            f"{row.orders:,}",
        )
    # Wide enough for every column also where the output is no terminal.
    wide = console if console.is_terminal else Console(file=console.file, width=170, highlight=False)
    wide.print(made)


async def links(
    console: Console,
    platform: Platform,
    door: Door,
    world: World,
    expected: Expected,
    planned: dict[str, Planned],
    *,
    stay: bool,
) -> None:
    """A funnel, a trace, one "why not" and one SMS as it was received."""
    first = planned["CMP-21"]
    console.print("To try:" if stay else "To try (`make run` keeps the portal up):", style="bold")
    console.print(f"  a funnel  {platform.url}/campaigns/{first.case.id}", soft_wrap=True)
    console.print(f"  a trace   {platform.url}/traces/{first.trace_id}", soft_wrap=True)
    capped = next(
        (
            (key, touch.row, touch.state)
            for key, other in expected.lines.items()
            for touch in other.touches.values()
            if touch.state == "suppressed:contact_cap"
        ),
        None,
    )
    if capped is not None:
        (case, touchpoint), row, _ = capped
        phone = int(world.people.phone[row])
        try:
            answer = await door.post(
                "operator",
                "/touchpoint/v1/touches:explain",
                {"phone": str(phone), "activity_number": planned[case].number},
            )
            reason = next((t["reason"] for t in answer["touches"] if t["reason"]), "")
        except Refused as problem:
            reason = str(problem)
        console.print(
            f"  why not   {platform.url}/campaigns/{planned[case].case.id}?tab=why number {phone}: "
            f"{touchpoint} was not sent: {reason}",
            soft_wrap=True,
        )
    received = next(
        (
            entry
            for entry in log.read(platform.logs / "sms.jsonl")
            if entry["kind"] == "message" and entry["code"] == first.case.code
        ),
        None,
    )
    if received is not None:
        console.print(f"  an SMS    to {received['phone']}: {received['text']}", soft_wrap=True)
