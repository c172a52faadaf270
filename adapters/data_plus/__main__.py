"""`python -m adapters.data_plus`: the Data+ adapter as a process of its own.

IOP_TOUCHPOINT=host:port, IOP_ADAPTER_TOKEN_FILE, IOP_ADAPTER_JOURNAL,
WECHAT_URL, WECHAT_APP_ID, WECHAT_SECRET_FILE, WECHAT_RATE,
DATA_PLUS_LISTEN=host:port for the click reports, IOP_ADAPTER_NAME.
"""

import asyncio
import logging
import os
import signal
from pathlib import Path

import uvicorn

from adapters.data_plus.adapter import DataPlusAdapter
from iop_adapter import Endpoint, Runner


async def main() -> None:
    adapter = DataPlusAdapter(
        os.environ["WECHAT_URL"],
        os.environ["WECHAT_APP_ID"],
        Path(os.environ["WECHAT_SECRET_FILE"]).read_text().strip(),  # noqa: ASYNC240 - before anything runs
        rate=float(os.environ.get("WECHAT_RATE", "0")),
    )
    endpoint = Endpoint(os.environ["IOP_TOUCHPOINT"], Path(os.environ["IOP_ADAPTER_TOKEN_FILE"]))
    name = os.environ.get("IOP_ADAPTER_NAME", "data-plus-1")
    runner = Runner(name, adapter, endpoint, os.environ["IOP_ADAPTER_JOURNAL"])
    host, _, port = os.environ.get("DATA_PLUS_LISTEN", "127.0.0.1:0").rpartition(":")
    door = uvicorn.Server(
        uvicorn.Config(adapter.callbacks(), host=host, port=int(port), log_level="warning", lifespan="off")
    )
    # uvicorn would take the signals for itself; the runner ends both.
    door.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runner.stop)
    serving = asyncio.create_task(door._serve())
    try:
        await runner.run()
    finally:
        door.should_exit = True
        await serving


logging.basicConfig(
    level=os.environ.get("IOP_LOG_LEVEL", "INFO"), format="%(levelname)s %(name)s: %(message)s"
)
asyncio.run(main())
