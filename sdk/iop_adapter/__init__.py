"""The SDK of a touchpoint adapter: what a channel owner installs.

Write a class with `capabilities`, `start`, `send` and `stop` (see `Adapter`),
and hand it to `run`. Pull touchpoints use `Decisions` instead.
"""

from iop_adapter.connection import Endpoint
from iop_adapter.decisions import Decisions, FeedbackKind, Offer
from iop_adapter.journal import Journal
from iop_adapter.model import Capabilities, Receipt, Reply, ReplyResult, Result, Status, Touch, Touchpoint
from iop_adapter.reports import Reports
from iop_adapter.runner import Adapter, Runner, run

__all__ = [
    "Adapter",
    "Capabilities",
    "Decisions",
    "Endpoint",
    "FeedbackKind",
    "Journal",
    "Offer",
    "Receipt",
    "Reply",
    "ReplyResult",
    "Reports",
    "Result",
    "Runner",
    "Status",
    "Touch",
    "Touchpoint",
    "run",
]
