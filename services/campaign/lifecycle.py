"""A campaign's verbs that move its activities too: pause, resume, complete, terminate."""

from datetime import datetime

from services.campaign import announce
from services.campaign.domain.states import DONE, ActivityState, next_activity_state, next_state
from services.campaign.store import activities, campaigns, work
from services.kit.db import Connection


def move_campaign(
    tx: Connection, found: campaigns.Campaign, verb: str, actor: str, comment: str, now: datetime
) -> campaigns.Campaign:
    """Move a locked campaign and all its activities by `verb`; Precondition STATE_FORBIDS."""
    after = next_state(verb, found.state)
    for activity in activities.of_campaign(tx, found.id):
        state = next_activity_state(verb, activity.state)
        if state is not None:
            move_activity(tx, activity, state, now)
    if verb in ("terminate", "complete"):
        work.cancel_launches(tx, found.id)
    campaigns.note(tx, found.id, now, actor, DONE[verb], comment)
    return campaigns.change(tx, found, now, state=after)


def move_activity(tx: Connection, activity: activities.Activity, state: ActivityState, now: datetime) -> None:
    """Bring an activity of a locked campaign into `state` and tell the others."""
    version = activities.set_state(tx, activity, state, now)
    announce.state_changed(tx, activity, state, version)
    if state in (ActivityState.COMPLETED, ActivityState.TERMINATED):
        unbound = work.unbind_population(tx, activity.number)
        if unbound is not None:
            announce.population_unbound(tx, activity, *unbound)
