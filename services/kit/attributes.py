"""The registry of span attribute keys; a test holds every exported span against it.

Names follow OpenTelemetry's RPC and messaging conventions; `iop.` keys are ours. No key may hold a
subscriber id or a phone number.
"""

RPC_SYSTEM = "rpc.system.name"
RPC_METHOD = "rpc.method"
RPC_STATUS = "rpc.response.status_code"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"

HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"

MESSAGING_SYSTEM = "messaging.system"
MESSAGING_OPERATION = "messaging.operation.name"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"
MESSAGING_DESTINATION = "messaging.destination.name"
MESSAGING_TEMPLATE = "messaging.destination.template"
MESSAGING_PARTITION = "messaging.destination.partition.id"
MESSAGING_CONSUMER = "messaging.consumer.group.name"
MESSAGING_MESSAGE_ID = "messaging.message.id"
MESSAGING_BATCH = "messaging.batch.message_count"

ACTOR = "iop.actor"
ERROR_REASON = "iop.error.reason"
OUTBOX_WAIT_MS = "iop.outbox.wait_ms"
CAMPAIGN_ID = "iop.campaign.id"
ACTIVITY_ID = "iop.activity.id"
ACTIVITY_NUMBER = "iop.activity.number"
DEFINITION_NUMBER = "iop.definition.number"
AUDIENCE_ID = "iop.audience.id"
SNAPSHOT_ID = "iop.snapshot.id"
TOUCHPOINT = "iop.touchpoint"
TOUCH_ID = "iop.touch.id"
TOUCH_OUTCOME = "iop.touch.outcome"
TOUCH_REASON = "iop.touch.reason"
ADAPTER = "iop.adapter"
JOB = "iop.job"
ROWS = "iop.rows"

# Counters per outcome or reason on a page's span: iop.count.<word>
COUNT_PREFIX = "iop.count."

KEYS = frozenset(
    value for name, value in dict(globals()).items() if name.isupper() and isinstance(value, str)
)


def unknown(keys: object) -> set[str]:
    """Those of the given keys that are not registered."""
    return {key for key in keys if key not in KEYS and not key.startswith(COUNT_PREFIX)}  # type: ignore[attr-defined]
