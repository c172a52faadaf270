"""`python -m demo.simulators settings.json`: the SMS gateway and the official account as one process.

Settings: clock (file), seed, smsc {host, port, source, secret}, account {host, port, app_id, secret},
instructions {activity code: what customers send}, followers (.npy of numbers), logs (folder),
clicks (URL of the Data+ adapter). Beside the account's API, `GET /status` tells whether anything is due.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo.simulators.log import MessageLog
from demo.simulators.official_account import OfficialAccount
from demo.simulators.smsc import Smsc
from services.kit.clock import Clock


async def serve(settings: dict[str, Any]) -> None:
    """Runs both until SIGTERM."""
    clock = Clock.file(settings["clock"])
    logs = Path(settings["logs"])
    sms, account_settings = settings["smsc"], settings["account"]
    smsc = Smsc(
        sms["source"],
        sms["secret"],
        settings["seed"],
        clock.now,
        MessageLog(logs / "sms.jsonl"),
        settings["instructions"],
    )
    account = OfficialAccount(
        account_settings["app_id"],
        account_settings["secret"],
        settings["seed"],
        clock.now,
        MessageLog(logs / "data_plus.jsonl"),
        set(np.load(settings["followers"]).tolist()),
        lambda: settings["clicks"],
    )

    async def status(request: Request) -> Response:
        return JSONResponse(
            {
                "due": smsc.agenda.due() + account.agenda.due(),
                "planned": smsc.agenda.planned() + account.agenda.planned(),
                "connections": smsc.connections,
                # Business microseconds at which messages were taken whose report is still to come.
                "unreported": sorted(smsc.unreported.values()),
            }
        )

    app = account.app()
    app.router.routes.append(Route("/status", status))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=account_settings["host"],
            port=account_settings["port"],
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_keep_alive=75,
        )
    )
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await smsc.start(sms["host"], sms["port"])
    account.start()
    # uvicorn's own `serve` would take the signals for itself.
    serving = asyncio.create_task(server._serve())
    try:
        await stopping.wait()
    finally:
        server.should_exit = True
        await serving
        await account.stop()
        await smsc.stop()


logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)
asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
