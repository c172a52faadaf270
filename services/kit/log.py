"""Logs: one JSON object a line, with the trace id of the work in hand; numbers of people are masked."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from opentelemetry import trace

from services.kit import mask

_OWN = {
    "args",
    "msg",
    "levelname",
    "levelno",
    "exc_info",
    "exc_text",
    "stack_info",
    "message",
    "taskName",
} | set(logging.LogRecord("", 0, "", 0, "", (), None).__dict__)


class JsonFormatter(logging.Formatter):
    """Formats a record, and whatever came in `extra`, as one line of JSON."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self.service,
            "message": record.getMessage(),
        }
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = f"{context.trace_id:032x}"
        line.update((key, value) for key, value in record.__dict__.items() if key not in _OWN)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return mask.text(json.dumps(line, ensure_ascii=False, default=str))


def make(service: str, level: str = "INFO", stream: TextIO | None = None) -> logging.Logger:
    """A logger of its own for one Service (several may live in one process)."""
    logger = logging.Logger(f"iop.{service}", level)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logger.addHandler(handler)
    return logger


def capture_libraries(service: str) -> None:
    """Send warnings of libraries (NATS, gRPC, SQLAlchemy) through the same JSON lines. Once a process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # Both announce every lost connection by themselves, in many lines; the bus says it once.
    logging.getLogger("nats").setLevel(logging.CRITICAL)
