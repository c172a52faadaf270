"""Contact caps in Redis: one script a partition reserves a slot per touch, or says which cap is full.

A subscriber's hash holds one field a reservation (the touch key -> day, touchpoint, type), so leasing a
touch again counts nothing twice and giving a slot back is one HDEL. Keys carry the generation; the
generation's mark carries the server's run id: a server that was restarted, replaced or emptied may have
lost reservations, and nothing capped is sent until they are rebuilt from the ledger.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import redis.asyncio as redis
from numpy.typing import NDArray
from redis.exceptions import RedisError, ResponseError

from services.kit import errors
from services.kit.partition import partition_of, partitions_of, token
from services.touchpoint.domain.policy import Cap

KEEP_DAYS = 32  # one more than the longest cap
_KEEP_S = 45 * 86400
_LOST = "GENERATION"

# KEYS[1] the mark; the subscribers' hashes lie beside it, under the same tag.
# ARGV: generation, today, life of a key, oldest day kept, prefix of the hashes, packed touch keys of 15
# bytes whose last four are the subscriber, touchpoint, type, 0/1 for push, number of caps; then limit,
# days, touchpoints as ",1,2," and type of each cap. Answers one byte a touch: 0, or which cap is full.
_RESERVE = """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ':' .. run then return redis.error_reply('GENERATION') end
local today, life, oldest, prefix, packed = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local touchpoint, kind, push, ncaps = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])
local value = today .. '|' .. touchpoint .. '|' .. push .. '|' .. kind
local caps, counting = {}, {}
local function concerns(cap, touchpoint, kind, push)
  if cap[4] ~= '' and cap[4] ~= kind then return false end
  if cap[3] == '' then return push == '1' end
  return string.find(cap[3], ',' .. touchpoint .. ',', 1, true) ~= nil
end
for c = 1, ncaps do
  local at = 7 + 4 * c
  caps[c] = {tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]}
  counting[c] = concerns(caps[c], touchpoint, kind, push)
end
local answer = {}
for i = 1, #packed / 15 do
  local field = string.sub(packed, i * 15 - 14, i * 15)
  local b1, b2, b3, b4 = string.byte(field, 12, 15)
  local key = prefix .. string.format('%.0f', ((b1 * 256 + b2) * 256 + b3) * 256 + b4)
  local full, counts = 0, {}
  for c = 1, ncaps do counts[c] = 0 end
  local held = redis.call('HGETALL', key)
  for h = 1, #held, 2 do
    if held[h] == field then full = -1 break end
    local day, t, p, k = string.match(held[h + 1], '^(%-?%d+)|(%d+)|(%d)|(.*)$')
    day = tonumber(day)
    if day < oldest then
      redis.call('HDEL', key, held[h])
    else
      for c = 1, ncaps do
        if day > today - caps[c][2] and day <= today and concerns(caps[c], t, k, p) then
          counts[c] = counts[c] + 1
        end
      end
    end
  end
  if full == 0 then
    for c = 1, ncaps do
      if counting[c] and counts[c] >= caps[c][1] then full = c break end
    end
    if full == 0 then
      redis.call('HSET', key, field, value)
      redis.call('EXPIRE', key, life)
    end
  end
  answer[i] = string.char(math.max(full, 0))
end
return table.concat(answer)
"""

_BEGIN = """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. run)
return 1
"""

# The mark appears only if the server that was filled is the one that answers now.
_FINISH = """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ':' .. run then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1] .. ':' .. run)
return 1
"""


class Contact(NamedTuple):
    """A contact that holds a slot since `day`. `field` is the packed touch key."""

    field: bytes
    ordinal: int
    touchpoint: int
    push: bool
    marketing_type: str
    day: int


class Contacts(NamedTuple):
    """Contacts of one touchpoint and type that want slots; one row of `packed` (n x 15) a touch."""

    packed: NDArray[np.uint8]
    ordinals: NDArray[np.uint32]
    touchpoint: int
    push: bool
    marketing_type: str


class GenerationLost(errors.Unavailable):
    """Redis may have lost reservations: rebuild first."""


class Caps:
    """Reservations of contact slots. `generation` is "" until one was built or found."""

    def __init__(self, url: str, partitions: int) -> None:
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=5, socket_connect_timeout=2, health_check_interval=15
        )
        self._partitions = partitions
        self._reserve = self._redis.register_script(_RESERVE)
        self._begin = self._redis.register_script(_BEGIN)
        self._finish = self._redis.register_script(_FINISH)
        self.generation = ""

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def reserve(self, contacts: Contacts, caps: Sequence[Cap], today: int) -> NDArray[np.uint8]:
        """For each contact 0 when its slot is reserved (now or before), else which cap is full, from 1.

        GenerationLost when reservations may be missing; errors.Unavailable when Redis does not answer.
        """
        result = np.zeros(len(contacts.ordinals), np.uint8)
        if not caps or not len(result):
            return result
        partitions = partitions_of(contacts.ordinals, self._partitions)
        for partition in np.unique(partitions).tolist():
            rows = np.flatnonzero(partitions == partition)
            args = self._args(partition, today, caps)
            args[5:9] = [
                contacts.packed[rows].tobytes(),
                contacts.touchpoint,
                contacts.marketing_type,
                int(contacts.push),
            ]
            result[rows] = np.frombuffer(await self._run(partition, args), np.uint8)
        return result

    def _args(self, partition: int, today: int, caps: Sequence[Cap]) -> list[Any]:
        prefix = self._key(partition, 0)[:-1]
        args = [self.generation, today, _KEEP_S, today - KEEP_DAYS, prefix, b"", 0, "", 0, len(caps)]
        for cap in caps:
            listed = "," + ",".join(map(str, sorted(cap.touchpoints))) + "," if cap.touchpoints else ""
            args += [cap.limit, cap.days, listed, cap.marketing_type]
        return args

    async def _run(self, partition: int, args: list[Any]) -> bytes:
        try:
            return bytes(await self._reserve(keys=[self._mark(partition)], args=args))
        except ResponseError as problem:
            if _LOST in str(problem):
                raise GenerationLost("Redis may have lost contact counts; they are rebuilt first") from None
            raise errors.Unavailable(f"Redis: {problem}") from problem
        except (RedisError, OSError) as problem:
            raise errors.Unavailable(f"Redis: {problem}") from problem

    async def refund(self, contacts: Iterable[tuple[int, bytes]]) -> None:
        """Give the slots of (ordinal, packed key) back; one that is not held is fine."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for ordinal, field in contacts:
                    pipeline.hdel(self._key(partition_of(ordinal, self._partitions), ordinal), field)
                await pipeline.execute()
        except (RedisError, OSError) as problem:
            raise errors.Unavailable(f"Redis: {problem}") from problem

    async def intact(self) -> bool:
        """Whether the generation of this process stands in every partition of the same server run."""
        if not self.generation:
            return False
        try:
            for partition in range(self._partitions):
                await self._run(partition, self._args(partition, 0, ()))
        except GenerationLost:
            return False
        return True

    async def rebuild_begin(self) -> str:
        """A new generation, not in force yet."""
        generation = secrets.token_hex(8)
        try:
            for partition in range(self._partitions):
                await self._begin(keys=[self._building(partition)], args=[generation])
        except (RedisError, OSError) as problem:
            raise errors.Unavailable(f"Redis: {problem}") from problem
        return generation

    async def rebuild_add(self, generation: str, contacts: Iterable[Contact]) -> None:
        """Write contacts that hold a slot into a generation in the making; the first day of a key stays."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for contact in contacts:
                    key = self._key(
                        partition_of(contact.ordinal, self._partitions), contact.ordinal, generation
                    )
                    value = f"{contact.day}|{contact.touchpoint}|{int(contact.push)}|{contact.marketing_type}"
                    pipeline.hsetnx(key, contact.field, value)
                    pipeline.expire(key, _KEEP_S)
                await pipeline.execute()
        except (RedisError, OSError) as problem:
            raise errors.Unavailable(f"Redis: {problem}") from problem

    async def rebuild_finish(self, generation: str) -> None:
        """Put a generation in force; errors.Unavailable when the server changed meanwhile."""
        try:
            for partition in range(self._partitions):
                done = await self._finish(
                    keys=[self._building(partition), self._mark(partition)], args=[generation]
                )
                if not done:
                    raise errors.Unavailable("Redis was restarted during a rebuild")
        except (RedisError, OSError) as problem:
            raise errors.Unavailable(f"Redis: {problem}") from problem
        self.generation = generation

    def _key(self, partition: int, ordinal: int, generation: str = "") -> str:
        return f"iop:cap:{{{token(partition)}}}:{generation or self.generation}:{ordinal}"

    @staticmethod
    def _mark(partition: int) -> str:
        return f"iop:cap:{{{token(partition)}}}:generation"

    @staticmethod
    def _building(partition: int) -> str:
        return f"iop:cap:{{{token(partition)}}}:building"
