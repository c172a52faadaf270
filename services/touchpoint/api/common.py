"""What the servicers share: who may act for a touchpoint, whom a request means, how a touch is shown."""

from collections.abc import Iterable

from services.kit import errors, mask, rpc
from services.kit.actor import Actor
from services.touchpoint.domain import catalogue, reasons
from services.touchpoint.flow.centre import Centre


def require_touchpoints(actor: Actor, touchpoints: Iterable[int]) -> None:
    """Denied, reason TOUCHPOINT_FOREIGN, unless the actor may act for all of them.

    Adapters need each one in their token; a person whose token names some is bound to these.
    """
    if actor.roles & {"admin", "service"} or ("adapter" not in actor.roles and not actor.touchpoints):
        return
    own = {name.lower().removeprefix("touchpoint_") for name in actor.touchpoints}
    for touchpoint in touchpoints:
        known = catalogue.BY_NUMBER.get(touchpoint)
        if known is None or known.name not in own:
            raise errors.Denied(
                f"touchpoint {known.name if known else touchpoint} is not yours",
                reason=reasons.TOUCHPOINT_FOREIGN,
                metadata={"touchpoint": known.name if known else str(touchpoint)},
            )


def ordinal_of(centre: Centre, *, phone: int = 0, subscriber_id: int = 0) -> int:
    """The ordinal of a number or subscriber id; NotFound, reason SUBSCRIBER_UNKNOWN."""
    centre.copies.require()
    directory = centre.copies.directory
    found = directory.by_phone(phone) if phone else directory.by_subscriber(subscriber_id)
    if found is None:
        raise errors.NotFound("nobody has this number", reason=reasons.SUBSCRIBER_UNKNOWN)
    return found


def shown_phone(phone: int) -> str:
    """A number as the caller may see it, "" for none."""
    if not phone:
        return ""
    return str(phone) if rpc.actor().may_see_numbers() else mask.phone(str(phone))
