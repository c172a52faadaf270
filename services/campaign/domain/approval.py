"""What approval binds, and who may give it."""

import hashlib
import json
from collections.abc import Iterable, Sequence

from services.campaign.domain import reasons
from services.campaign.domain.model import ActivityPlan, CampaignPlan, Setting, as_json
from services.kit import errors


def content_digest(
    campaign_id: str,
    plan: CampaignPlan,
    scope: Sequence[int],
    activities: Iterable[tuple[str, ActivityPlan, Sequence[Setting]]],
) -> str:
    """SHA-256, hexadecimal, of everything an approver agrees to: the head, the activities with their
    settings, and the regions (`scope`) that the author may address."""
    content = {
        "campaign": campaign_id,
        "plan": as_json(plan),
        "scope": sorted(scope),
        "activities": [
            {
                "id": activity_id,
                "plan": as_json(activity),
                "settings": [as_json(s) for s in sorted(settings, key=lambda s: s.touchpoint)],
            }
            for activity_id, activity, settings in sorted(activities, key=lambda item: item[0])
        ],
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def require_four_eyes(approver: str, authors: Iterable[str]) -> None:
    """Denied, reason APPROVER_IS_AUTHOR, when the approver wrote, changed or submitted the content."""
    if approver in set(authors):
        raise errors.Denied(
            "who wrote, changed or submitted a campaign cannot approve it",
            reason=reasons.APPROVER_IS_AUTHOR,
            metadata={"approver": approver},
        )


def require_current(quoted: str, current: str) -> None:
    """Precondition, reason APPROVAL_STALE, when what was read or approved is not what is there now."""
    if not quoted or quoted != current:
        raise errors.Precondition(
            "the content is not the one that was read for approval; read it again",
            reason=reasons.APPROVAL_STALE,
            metadata={"current": current},
        )
