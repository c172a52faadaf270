"""Holds the platform's counts against the recomputation and against the channels' own logs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demo.recompute.contacts import PULL
from demo.recompute.expected import Expected, Row
from demo.results import Results, reasons
from demo.simulators import log
from demo.world import World


@dataclass(frozen=True)
class Check:
    """One statement that must hold."""

    name: str
    ok: bool
    detail: str


def differences(expected: object, actual: object) -> list[str]:
    """`field: expected 3, is 4` for each field of two rows or mappings that differs."""
    mine = dataclasses.asdict(expected) if isinstance(expected, Row) else expected
    other = dataclasses.asdict(actual) if isinstance(actual, Row) else actual
    assert isinstance(mine, dict) and isinstance(other, dict)
    found = []
    for name in sorted(mine.keys() | other.keys()):
        left, right = mine.get(name, 0), other.get(name, 0)
        if isinstance(left, dict) or isinstance(right, dict):
            found += [f"{name}.{text}" for text in differences(left or {}, right or {})]
        elif left != right:
            found.append(f"{name}: expected {left:,}, is {right:,}")
    return found


def check(name: str, wrong: list[str], right: str) -> Check:
    """Holds when nothing is wrong."""
    more = f" (and {len(wrong) - 8} more)" if len(wrong) > 8 else ""
    return Check(name, not wrong, "; ".join(wrong[:8]) + more if wrong else right)


def audience(case: str, answer: dict[str, Any], matched: int, excluded: dict[str, int]) -> Check:
    """The count that the planner saw, beside the independent one."""
    mine = {"matched": matched, "count": matched - sum(excluded.values()), "excluded": excluded}
    theirs = {
        "matched": int(answer["matched"]),
        "count": int(answer["count"]),
        "excluded": reasons(answer["excluded"]),
    }
    return check(
        f"audience {case}", differences(mine, theirs), f"{matched:,} selected, {mine['count']:,} left"
    )


def rows(expected: Expected, results: Results) -> list[Check]:
    """Every counter of every activity and touchpoint."""
    made = []
    for key, row in expected.rows.items():
        actual = results.rows[key]
        made.append(
            check(
                f"counts {key[0]} {key[1]}",
                differences(row, actual),
                f"{actual.received:,} touches, {sum(actual.settled.values()):,} settled",
            )
        )
    return made


def conservation(results: Results) -> list[Check]:
    """Both laws, exactly; nothing in transit, queued or leased at rest."""
    planned, ledger, transit = [], [], []
    for (case, touchpoint), r in results.rows.items():
        name = f"{case} {touchpoint}"
        if r.target != r.control + sum(r.excluded.values()) + r.unplanned + r.handed:
            planned.append(
                f"{name}: target {r.target}, parts {r.control}+{r.excluded}+{r.unplanned}+{r.handed}"
            )
        parts = (
            sum(r.suppressed.values()) + r.waiting + r.held + r.queued + r.leased + r.cancelled
            + sum(r.settled.values())
        )  # fmt: skip
        if r.received != parts or results.imbalance[case, touchpoint]:
            ledger.append(f"{name}: received {r.received}, parts {parts}")
        if r.handed != r.received or r.queued or r.leased or r.unplanned:
            transit.append(
                f"{name}: handed {r.handed}, received {r.received}, queued {r.queued}, leased {r.leased}, "
                f"unplanned {r.unplanned}"
            )
    total = sum(row.received for row in results.rows.values())
    return [
        check("conservation in campaign", planned, "target = control + excluded + unplanned + handed"),
        check(
            "conservation in the ledger",
            ledger,
            f"{total:,} received = suppressed + waiting + held + queued + leased + cancelled + settled",
        ),
        check("nothing in transit", transit, "handed = received; nothing queued or leased"),
    ]


def funnels(expected: Expected, results: Results) -> Check:
    """Evaluation's funnels tell the same as the ledger."""
    wrong: list[str] = []
    for key, row in results.rows.items():
        funnel = results.funnels[key]
        theirs = {
            "suppressed": reasons(funnel.get("suppressed", [])),
            "settled": {k: v for k, v in reasons(funnel.get("settled", [])).items() if k != "suppressed"},
            "clicks": int(funnel.get("clicks", 0)),
            "replies": int(funnel.get("replies", 0)),
            "opt_outs": int(funnel.get("optOuts", 0)),
        }
        mine = {
            "suppressed": row.suppressed,
            "settled": row.settled,
            "clicks": row.clicks,
            "replies": row.replies,
            "opt_outs": expected.lines[key].opt_outs,
        }
        wrong += [f"{key[0]} {key[1]} {text}" for text in differences(mine, theirs)]
    return check("funnels of evaluation", wrong, "the same as the ledger")


def lifts(expected: Expected, results: Results) -> Check:
    """Control groups and who of them ordered."""
    wrong = []
    for case, lift in results.lifts.items():
        mine = {
            "control": int(expected.selected[case].control.sum()),
            "control_orders": expected.control_orders[case],
        }
        theirs = {"control": int(lift["control"]), "control_orders": int(lift["controlOrders"])}
        wrong += [f"{case} {text}" for text in differences(mine, theirs)]
    return check("orders of control groups", wrong, "as recomputed")


def levels(results: Results) -> Check:
    """CAM-32 is reported at province, city, county and campus."""
    wrong = [f"no rows at {level}" for level, count in results.reports.items() if not count]
    if set(results.reports) != {"province", "city", "county", "campus"}:
        wrong.append(f"levels {sorted(results.reports)}")
    detail = ", ".join(f"{level} {count}" for level, count in results.reports.items())
    return check("reports CAM-32", wrong, f"rows: {detail}")


def channels(world: World, expected: Expected, folder: Path) -> list[Check]:
    """What the channels themselves saw: each message exactly once, to whom it was due, in the right words."""
    entries = log.read(folder / "sms.jsonl") + log.read(folder / "data_plus.jsonl")
    seen: dict[tuple[str, str, str], Counter[int]] = {}
    texts: dict[tuple[str, str], dict[int, str]] = {}
    for entry in entries:
        if entry["kind"] not in ("message", "refused", "answered", "clicked"):
            continue
        key = (entry["kind"], entry["code"], entry["touchpoint"])
        seen.setdefault(key, Counter())[int(entry["phone"])] += 1
        if entry["kind"] == "message":
            texts.setdefault(key[1:], {})[int(entry["phone"])] = entry["text"]
    phones = world.people.phone
    repeated: list[str] = []
    wrong: list[str] = []
    words: list[str] = []
    messages = 0
    for (case, touchpoint), line in expected.lines.items():
        if touchpoint in PULL:
            continue
        due = {"message": line.taken, "refused": line.refused, "answered": set(line.answered)}
        for kind, rows_due in due.items():
            got = seen.pop((kind, line.case.code, touchpoint), Counter())
            mine = {int(phones[row]) for row in rows_due}
            name = f"{case} {touchpoint} {kind}"
            if twice := sum(count > 1 for count in got.values()):
                repeated.append(f"{name}: {twice} numbers more than once")
            if mine != set(got):
                wrong.append(f"{name}: {len(mine - set(got))} missing, {len(set(got) - mine)} not due")
            messages += sum(got.values()) if kind == "message" else 0
        sent = texts.get((line.case.code, touchpoint), {})
        row_of = {int(phones[row]): row for row in line.taken}
        bad = sum(text != rendered(world, line.words, row_of[p]) for p, text in sent.items() if p in row_of)
        if bad:
            words.append(f"{case} {touchpoint}: {bad} texts differ")
    wrong += [f"{' '.join(key)}: {sum(c.values())} not due" for key, c in seen.items() if key[0] == "message"]
    return [
        check("each message exactly once", repeated, f"{messages:,} messages in the channels' logs"),
        check("channels and recomputation", wrong, "the same numbers, taken, refused and answered"),
        check("words as approved", words, "every text as the activity's words render it"),
    ]


def rendered(world: World, words: str, row: int) -> str:
    """Marketing words with the customer's form of address in place."""
    if "{salutation}" not in words:
        return words
    index = int(world.columns["salutation"][row])
    return words.replace("{salutation}", world.salutations[index] if index >= 0 else "")


def planted(world: World) -> Check:
    """The audience of AUD-30 holds those on its closed bounds and not those on its open ones."""
    marks = np.concatenate([chunk.planted for chunk in world.chunks()])
    inside, outside = np.isin(marks, (3, 4, 5, 6)), np.isin(marks, (1, 2))
    wrong = []
    if not world.caliber[inside].all() or world.caliber[outside].any() or not inside.any():
        wrong.append("subscribers on a bound are on the wrong side")
    return check(
        "bounds of AUD-30",
        wrong,
        f"{int(inside.sum())} on 200, 300, 50, 70 in; {int(outside.sum())} on 28, 38 out",
    )
