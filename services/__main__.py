"""python -m services up | all | <service> | migrate <service>"""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from services.kit import actor, app, config, embedded, errors, migrate
from services.kit.supervisor import SERVICES, Supervisor

DESCRIPTION = """\
up                 run the whole platform: servers, one process per service, the gateway
all                run every service in this one process, for tests and debugging
<service>          run one service on the servers named in the environment
migrate <service>  bring the service's database to its current tables
token              print a token of an administrator, good for an hour, for calls by hand
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m services",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="NATS_URL, REDIS_URL and DATABASE_URL_<SERVICE> replace the embedded servers.",
    )
    parser.add_argument("what", choices=["up", "all", "migrate", "token", *SERVICES], metavar="what")
    parser.add_argument("service", nargs="?", choices=SERVICES, help="for migrate")
    given = parser.parse_args(arguments)
    if (given.what == "migrate") != (given.service is not None):
        parser.error("migrate needs a service, nothing else takes one")
    try:
        if given.what == "up":
            return up(Path(os.environ.get("IOP_DATA_DIR", ".data")))
        if given.what == "token":
            print(token(Path(os.environ.get("IOP_DATA_DIR", ".data"))))
            return 0
        if given.what == "all":
            return all_in_one(Path(os.environ.get("IOP_DATA_DIR", ".data")))
        if given.what == "migrate":
            url = config.runtime(given.service).database_url
            if not url:
                raise errors.Precondition(f"DATABASE_URL_{given.service.upper()} is not set")
            migrate.upgrade(given.service, url)
            return 0
    except (errors.Error, embedded.EmbeddedError) as problem:
        print(f"{given.what}: {problem}", file=sys.stderr)
        return 1
    return app.run(given.what)


def up(data_dir: Path) -> int:
    """Run the platform until SIGTERM or SIGINT."""
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    platform = Supervisor(data_dir)
    starting = threading.Thread(target=_start, args=(platform, ending), daemon=True)
    starting.start()
    ending.wait()
    print("stopping", file=sys.stderr, flush=True)
    platform.stop()
    starting.join(5)
    return 1 if platform.failed else 0


def _start(platform: Supervisor, ending: threading.Event) -> None:
    try:
        platform.start()
        print(f"ready: http://{platform.http_address}", file=sys.stderr, flush=True)
    except (errors.Error, embedded.EmbeddedError) as problem:
        if not ending.is_set():
            platform.failed = True
            print(problem, file=sys.stderr, flush=True)
        ending.set()
    except BaseException:
        platform.failed = True
        ending.set()
        raise


def all_in_one(data_dir: Path) -> int:
    """Every service in this process, on embedded servers where the environment names none."""
    platform = Supervisor(data_dir)
    try:
        platform.prepare()
        return app.run(*SERVICES, runtimes=platform.runtimes())
    finally:
        platform.stop()


def token(data_dir: Path) -> str:
    """A token for the services of the platform that runs in `data_dir` or in its folder `demo`."""
    for folder in (data_dir, data_dir / "demo"):
        if (folder / "run.json").exists():
            keys = json.loads((folder / "run.json").read_text())["actor_keys"]
            admin = actor.Actor("user:shell", "shell", frozenset({"admin"}), (actor.PROVINCE,))
            return actor.sign(admin, keys=keys, ttl=3600, issuer="iop-tool")
    raise errors.Precondition(f"no platform runs in {data_dir}")


if __name__ == "__main__":
    sys.exit(main())
