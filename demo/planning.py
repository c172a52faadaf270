"""What planners, the approver and the campus manager do for a case, over the HTTP API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from demo.cases import EVENT, Case
from demo.conditions import Json, cells, rule
from demo.door import Door
from demo.schedule import CAPS, RECEIPT_HOURS

APPROVER = "approver"


@dataclass
class Planned:
    """A case in the platform."""

    case: Case
    audience_count: Json  # answer of audiences:count
    number: int = 0  # compact number of the activity
    trace_id: str = ""


class Planning:
    """Brings cases to launch."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def policy(self) -> None:
        """The contact policy of the day: windows, one SMS and one article a day, two hours for a report."""
        policy = await self._door.get("admin", "/touchpoint/v1/contactPolicy")
        caps = [
            {"touchpoints": [f"TOUCHPOINT_{word.upper()}" for word in words], "limit": limit, "days": 1}
            for words, limit in CAPS
        ]
        await self._door.put(
            "admin",
            "/touchpoint/v1/contactPolicy",
            {
                "window_start": "08:00",
                "window_end": "21:00",
                "event_window_start": "08:00",
                "event_window_end": "18:00",
                "caps": caps,
                "receipt_hours": RECEIPT_HOURS,
                "etag": policy["etag"],
            },
        )

    async def plan(self, case: Case) -> Planned:
        """Audience, event definition, campaign, activity, cart; submission, and another user's approval."""
        door, author = self._door, case.author
        selection: Json = {"condition": case.condition, "regions": list(case.regions)}
        count = await door.post(author, "/audience/v1/audiences:count", {"selection": selection})
        await door.post(
            author,
            "/audience/v1/audiences",
            {"display_name": case.audience_name, "description": case.goal, "selection": selection},
            audience_id=case.id,
            request_id=f"audience-{case.id}",
        )
        if case.mode == EVENT:
            await door.post(
                author,
                "/event/v1/definitions",
                {
                    "display_name": case.event_name,
                    "description": case.event_words,
                    "expression": await self._expression(case),
                },
                definition_id=case.id,
                request_id=f"definition-{case.id}",
            )
        campaign = await door.post(
            author,
            "/campaign/v1/campaigns",
            _campaign(case),
            campaign_id=case.id,
            request_id=f"campaign-{case.id}",
        )
        activity = await door.post(
            author,
            f"/campaign/v1/{campaign['name']}/activities",
            _activity(case),
            activity_id=case.activity_id,
            request_id=f"activity-{case.id}",
        )
        for setting in case.settings:
            await door.post(
                author,
                "/campaign/v1/cart",
                {
                    "activity": activity["name"],
                    "setting": {
                        "touchpoint": f"TOUCHPOINT_{setting.touchpoint.upper()}",
                        "period": {"start_date": case.period[0], "end_date": case.period[1]},
                        "priority": f"PRIORITY_{setting.priority.upper()}",
                        "marketing_words": setting.words,
                        "fields": setting.fields,
                    },
                    "request_id": f"cart-{case.id}-{setting.touchpoint}",
                },
            )
        path = f"/campaign/v1/{campaign['name']}"
        await door.post(author, f"{path}:submit", {"request_id": f"submit-{case.id}"})
        read = await door.get(APPROVER, path)
        await door.post(
            APPROVER,
            f"{path}:approve",
            {
                "content_digest": read["contentDigest"],
                "comment": "同意执行",
                "request_id": f"approve-{case.id}",
            },
        )
        return Planned(case, count)

    async def launch(self, planned: Planned) -> None:
        """The author launches; the answer tells the trace."""
        case = planned.case
        launched = await self._door.post(
            case.author,
            f"/campaign/v1/campaigns/{case.id}:launch",
            {"request_id": f"launch-{case.id}"},
        )
        planned.trace_id = launched["traceId"]
        activity = await self._door.get(case.author, f"/campaign/v1/{case.activity}")
        planned.number = int(activity["activityNumber"])

    async def _expression(self, case: Case) -> Json:
        if case.event is not None:
            return case.event
        # CAM-32: the school's own cells, an hour of stay.
        found = await self._door.get(case.author, f"/campus/v1/schools/{case.school}/cells")
        return rule("location", cells(int(key) for key in found["cells"]), dwell_seconds=3600)


def _campaign(case: Case) -> dict[str, Any]:
    return {
        "display_name": case.name,
        "theme": case.theme,
        "goal": case.goal,
        "region": case.region,
        "initiator": case.initiator,
        "cycle": case.cycle,
        "period": {"start_date": case.period[0], "end_date": case.period[1]},
        "need_dimensions": ["value"],
        "lifecycle_stages": list(case.stages),
        "brands": list(case.brands),
        "target_description": case.audience_name,
        "case_id": case.case,
        "marketing_type": case.marketing_type,
    }


def _activity(case: Case) -> dict[str, Any]:
    code, name, price = case.product
    made: dict[str, Any] = {
        "display_name": case.name,
        "code": case.code,
        "description": case.goal,
        "mode": f"MODE_{case.mode.upper()}",
        "target": {"audience": f"audiences/{case.id}"},
        "product": {
            "code": code,
            "display_name": name,
            "price_fen": price,
            "order_instruction": case.instruction,
        },
        "control_percent": case.control_percent,
    }
    if case.mode == EVENT:
        made |= {"definition": f"definitions/{case.id}", "time_to_live_seconds": case.time_to_live_s}
    if case.school:
        made["school"] = case.school
    return made
