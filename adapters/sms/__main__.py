"""`python -m adapters.sms`: the SMS adapter as a process of its own.

IOP_TOUCHPOINT=host:port, IOP_ADAPTER_TOKEN_FILE, IOP_ADAPTER_JOURNAL,
CMPP_GATEWAY=host:port, CMPP_SOURCE (SP id), CMPP_SECRET_FILE,
CMPP_RATE (messages a second, 0 for no limit), IOP_ADAPTER_NAME.
"""

import logging
import os
from pathlib import Path

from adapters.sms.adapter import SmsAdapter
from iop_adapter import Endpoint, run


def main() -> None:
    logging.basicConfig(
        level=os.environ.get("IOP_LOG_LEVEL", "INFO"), format="%(levelname)s %(name)s: %(message)s"
    )
    host, _, port = os.environ["CMPP_GATEWAY"].rpartition(":")
    adapter = SmsAdapter(
        host,
        int(port),
        os.environ["CMPP_SOURCE"],
        Path(os.environ["CMPP_SECRET_FILE"]).read_text().strip(),
        rate=float(os.environ.get("CMPP_RATE", "0")),
    )
    endpoint = Endpoint(os.environ["IOP_TOUCHPOINT"], Path(os.environ["IOP_ADAPTER_TOKEN_FILE"]))
    run(os.environ.get("IOP_ADAPTER_NAME", "sms-1"), adapter, endpoint, os.environ["IOP_ADAPTER_JOURNAL"])


main()
