"""Who is calling: a signed token in the `iop-actor` metadata, and what it lets the caller do."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import jwt

from services.kit import errors

AUDIENCE = "iop"
METADATA_KEY = "iop-actor"
PROVINCE = 150000

ROLES = (
    "admin", "planner", "approver", "clerk", "campus_manager", "channel_auditor",
    "operator", "analyst", "adapter", "service",
)  # fmt: skip


@dataclass(frozen=True)
class Actor:
    """The caller of a method. `regions` are GB/T 2260 codes; 150000 stands for the whole province."""

    subject: str  # "user:zhang", "service:campaign", "adapter:sms-1"
    name: str = ""
    roles: frozenset[str] = frozenset()
    regions: tuple[int, ...] = ()
    campuses: tuple[str, ...] = ()
    touchpoints: tuple[str, ...] = ()

    @property
    def is_user(self) -> bool:
        """True for a person, false for a service or an adapter."""
        return self.subject.startswith("user:")

    @property
    def whole_province(self) -> bool:
        """True when no region is closed to the actor: services, admins and those given the province."""
        return PROVINCE in self.regions or bool(self.roles & {"admin", "service"})

    def may_see_region(self, adcode: int) -> bool:
        """True when `adcode` (province, city or county) lies in the actor's data scope."""
        if self.whole_province:
            return True
        return any(_covers(region, adcode) for region in self.regions)

    def require_region(self, adcode: int) -> None:
        """Denied, reason REGION_OUT_OF_SCOPE, unless `adcode` lies in the actor's data scope."""
        if not self.may_see_region(adcode):
            raise errors.Denied(
                f"region {adcode} is outside your data scope",
                reason="REGION_OUT_OF_SCOPE",
                metadata={"region": str(adcode)},
            )

    def require_role(self, *roles: str) -> None:
        """Denied, reason ROLE_MISSING, without one of `roles` (admin and service always pass)."""
        if not self.roles & {*roles, "admin", "service"}:
            raise errors.Denied(
                f"this needs one of the roles {', '.join(roles)}",
                reason="ROLE_MISSING",
                metadata={"roles": ",".join(roles)},
            )

    def may_see_numbers(self) -> bool:
        """True for the roles that see whole phone numbers; everybody else gets `kit.mask.phone`."""
        return bool(self.roles & {"admin", "operator", "clerk"})


def of_service(name: str) -> Actor:
    """The actor a service is when it calls for itself."""
    return Actor(subject=f"service:{name}", name=name, roles=frozenset({"service"}), regions=(PROVINCE,))


def sign(
    actor: Actor,
    audience: str = AUDIENCE,
    keys: Sequence[str] = (),
    ttl: float = 300,
    issuer: str = "iop-gateway",
) -> str:
    """A token for `actor`, good for `ttl` seconds, signed with the first key."""
    if not keys:
        raise errors.Precondition("no actor key is set (IOP_ACTOR_KEYS)")
    claims = {
        "sub": actor.subject,
        "aud": audience,
        "iss": issuer,
        "exp": int(time.time() + ttl),
        "name": actor.name,
        "roles": sorted(actor.roles),
        "regions": list(actor.regions),
        "campuses": list(actor.campuses),
        "touchpoints": list(actor.touchpoints),
    }
    return jwt.encode(claims, keys[0], algorithm="HS256")


def verify(token: str, audience: str = AUDIENCE, keys: Sequence[str] = ()) -> Actor:
    """The actor of a token; Unauthenticated with reason TOKEN_EXPIRED or TOKEN_INVALID."""
    return verify_until(token, audience, keys)[0]


def verify_until(token: str, audience: str, keys: Sequence[str]) -> tuple[Actor, float]:
    """Like `verify`, with the unix time at which the token ends."""
    for key in keys:
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=["HS256"],
                audience=audience,
                options={"require": ["exp", "sub", "aud", "iss"]},
            )
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError:
            raise errors.Unauthenticated("the actor token has expired", reason="TOKEN_EXPIRED") from None
        except jwt.InvalidAudienceError:
            raise errors.Unauthenticated(
                "the actor token is for someone else", reason="TOKEN_INVALID"
            ) from None
        except jwt.InvalidTokenError:
            break
        if not str(claims["iss"]).startswith("iop-"):
            break
        return _from_claims(claims), float(claims["exp"])
    raise errors.Unauthenticated("the actor token is not valid", reason="TOKEN_INVALID")


class Verifier:
    """Verifies tokens and remembers them until they end, since the same token comes with many calls."""

    def __init__(self, keys: Sequence[str], audience: str = AUDIENCE, size: int = 2048) -> None:
        self._keys, self._audience, self._size = tuple(keys), audience, size
        self._known: dict[str, tuple[Actor, float]] = {}

    def __call__(self, token: str) -> Actor:
        """The actor of `token`; errors as `verify`."""
        known = self._known.get(token)
        if known is not None and known[1] > time.time():
            return known[0]
        self._known.pop(token, None)
        known = verify_until(token, self._audience, self._keys)
        if len(self._known) >= self._size:
            self._known.clear()
        self._known[token] = known
        return known[0]


class Signer:
    """Signs actors for outgoing calls and reuses each token for half of its life."""

    def __init__(self, keys: Sequence[str], issuer: str, ttl: float = 300) -> None:
        self._keys, self._issuer, self._ttl = tuple(keys), issuer, ttl
        self._tokens: dict[Actor, tuple[str, float]] = {}

    def __call__(self, actor: Actor) -> str:
        """A token of `actor` with at least half of its life left."""
        known = self._tokens.get(actor)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        if len(self._tokens) >= 2048:
            self._tokens.clear()
        token = sign(actor, AUDIENCE, self._keys, self._ttl, self._issuer)
        self._tokens[actor] = (token, time.monotonic() + self._ttl / 2)
        return token


def _covers(region: int, adcode: int) -> bool:
    """GB/T 2260: 150100 covers 150102, 150000 covers everything of the province."""
    if region % 10000 == 0:
        return adcode // 10000 == region // 10000
    if region % 100 == 0:
        return adcode // 100 == region // 100
    return adcode == region


def _from_claims(claims: dict[str, object]) -> Actor:
    def listed(key: str) -> list[str]:
        value = claims.get(key, [])
        return [str(item) for item in value] if isinstance(value, list) else []

    return Actor(
        subject=str(claims["sub"]),
        name=str(claims.get("name", "")),
        roles=frozenset(listed("roles")),
        regions=tuple(int(region) for region in listed("regions")),
        campuses=tuple(listed("campuses")),
        touchpoints=tuple(listed("touchpoints")),
    )
