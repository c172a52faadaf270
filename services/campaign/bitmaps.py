"""Bitmaps of ordinals in the object store: immutable, named by their digest, kept in memory while used."""

import asyncio
import hashlib
from collections import OrderedDict

from pyroaring import BitMap

from services.campaign.store.activities import Bitmap
from services.kit import errors
from services.kit.bus import Bucket, Bus

BUCKET = Bucket("IOP_BITMAPS")


class Bitmaps:
    """Reads and writes the bucket. What it hands out is shared: never change it."""

    def __init__(self, bus: Bus, keep: int = 128) -> None:
        self._bus = bus
        self._keep = keep
        self._known: OrderedDict[str, BitMap] = OrderedDict()

    async def put(self, prefix: str, members: BitMap, directory_version: int) -> Bitmap:
        """Store a set under `<prefix>-<digest>`; storing the same again changes nothing."""

        def pack() -> bytes:
            members.run_optimize()
            return bytes(members.serialize())

        data = await asyncio.to_thread(pack)
        digest = hashlib.sha256(data).hexdigest()
        name = f"{prefix}-{digest[:16]}"
        await self._bus.put_object(BUCKET.name, name, data)
        self._remember(digest, members)
        return Bitmap(name, digest, len(members), directory_version)

    async def get(self, which: Bitmap) -> BitMap:
        """The set; errors.NotFound or errors.Conflict when the store does not hold it."""
        known = self._known.get(which.digest)
        if known is None:
            data = await self._bus.get_object(BUCKET.name, which.object, which.digest)
            known = BitMap.deserialize(data)
            if len(known) != which.cardinality:
                raise errors.Conflict(f"{which.object} holds {len(known)} ordinals, not {which.cardinality}")
            self._remember(which.digest, known)
        self._known.move_to_end(which.digest)
        return known

    def _remember(self, digest: str, members: BitMap) -> None:
        self._known[digest] = members
        self._known.move_to_end(digest)
        while len(self._known) > self._keep:
            self._known.popitem(last=False)
