"""directory.changed: subscribers were added, moved or renumbered."""

from __future__ import annotations

from services.event.copies import DirectoryCopy
from services.kit.bus import Delivery, Handler


def handler(directory: DirectoryCopy) -> Handler:
    """Brings the copy up to the announced version."""

    async def handle(deliveries: list[Delivery]) -> None:
        directory.announce(max(delivery.message.directory_version for delivery in deliveries))
        await directory.follow()

    return handle
