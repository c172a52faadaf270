"""Evaluation starts, follows the directory and stays at rest."""

from iop.evaluation.v1 import report_pb2


async def test_it_starts_and_rests(world):
    await world.rest()
    pool = (await world.reports.ListIndicators(report_pb2.ListIndicatorsRequest())).indicators
    assert len({indicator.code for indicator in pool}) == len(pool)
