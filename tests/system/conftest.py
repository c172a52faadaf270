"""One platform a module: starting it is dear, and campaigns do not disturb each other."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.system.harness import Harness, running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Harness]:
    """A running platform with 6,000 subscribers."""
    async with running(tmp_path_factory.mktemp("platform"), 6000) as harness:
        yield harness


@pytest_asyncio.fixture(loop_scope="module")
async def world(platform: Harness) -> AsyncIterator[Harness]:
    """The platform on a morning of its own."""
    platform.next_week()
    yield platform
