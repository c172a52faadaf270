"""The life of a service: jobs, stops, failures, idleness, and the small parts every room uses."""

import asyncio
import dataclasses
import json
import logging
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from services.kit import (
    app,
    attributes,
    clock,
    config,
    envelope,
    errors,
    log,
    mask,
    page,
    partition,
    replica,
    resource,
    telemetry,
)
from tests.kit.test_bus import until

START = datetime(2026, 3, 4, 7, 30, tzinfo=UTC)


async def test_stops_run_in_reverse_and_one_failing_holds_nobody_up(bare_service):
    service, order = bare_service(), []
    service.on_stop("first", lambda: order.append("first"))

    async def fails():
        order.append("fails")
        raise RuntimeError("no matter")

    service.on_stop("second", fails)
    service.on_stop("third", lambda: order.append("third"))
    await service.stop()
    await service.stop()
    assert order == ["third", "fails", "first"]


async def test_a_background_failure_ends_the_service_with_its_name(bare_service, capsys):
    service = bare_service()

    async def breaks():
        raise RuntimeError("the cable is out")

    service.spawn("cable", breaks())
    await asyncio.wait_for(service.failed.wait(), 2)
    assert str(service.failure) == "the cable is out"
    line = json.loads(capsys.readouterr().err.splitlines()[0])
    assert (line["level"], line["message"]) == ("CRITICAL", "cable failed: the cable is out")


async def test_a_job_runs_on_while_it_finds_work_and_outlives_a_failure(bare_service):
    service, runs = bare_service(), []
    results = [True, True, errors.Unavailable("away"), RuntimeError("bug"), True, False]

    async def work():
        runs.append(1)
        result = results.pop(0) if results else False
        if isinstance(result, Exception):
            raise result
        return result

    service.job("work", work, every=3600)
    await until(lambda: len(runs) == 6)
    job = service.status.jobs["work"]
    await until(lambda: service.status.job_idle(job))
    assert job.failures == 2


async def test_a_job_is_idle_only_after_it_has_looked_at_the_last_change(bare_service, tmp_path):
    path = tmp_path / "clock"
    clock.ClockFile.write(path, START)
    service, todo, runs = bare_service(clock=str(path)), [], []

    async def work():
        runs.append(service.clock.now())
        return bool(todo and todo.pop())

    service.job("work", work, every=3600)
    job = service.status.jobs["work"]
    await until(lambda: service.status.job_idle(job))
    todo.append(1)
    service.status.touch()
    assert not (await service.status.report("kit")).idle
    await until(lambda: service.status.job_idle(job))
    assert todo == []

    clock.ClockFile.write(path, START + timedelta(hours=1))
    assert not (await service.status.report("kit")).idle
    await until(lambda: service.status.job_idle(job))
    report = await service.status.report("kit")
    assert report.idle
    assert report.jobs[0].idle_time.ToDatetime(tzinfo=UTC) == START + timedelta(hours=1) == runs[-1]


async def test_what_a_fruitless_run_writes_itself_does_not_keep_it_busy(bare_service):
    service = bare_service()

    async def heartbeat():
        service.status.touch()
        return False

    service.job("heartbeat", heartbeat, every=3600)
    await until(lambda: service.status.job_idle(service.status.jobs["heartbeat"]))


def test_the_clock_file_is_shared_frozen_or_runs_at_its_rate(tmp_path):
    path = tmp_path / "clock"
    clock.ClockFile.write(path, START)
    first, second = clock.Clock.file(path), clock.Clock.file(path)
    assert first.now() == second.now() == START
    assert first.today("Asia/Shanghai") == date(2026, 3, 4)
    clock.ClockFile.write(path, START + timedelta(days=1))
    assert first.now() == second.now() == START + timedelta(days=1)
    assert first.changed_micros() > 0
    clock.ClockFile.write(path, START, rate=1000.0)
    before = first.micros()
    end = before + 2_000_000
    while first.micros() < end:
        pass
    assert clock.from_micros(clock.to_micros(START)) == START
    assert abs(clock.Clock.system().now() - datetime.now(UTC)) < timedelta(seconds=5)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a test."""

    window_start: str = "08:00"
    batch: int = 500
    ratio: float = 0.5
    strict: bool = False
    channels: tuple[str, ...] = ()
    limit: int | None = None
    key: str = config.secret()


def test_settings_come_from_the_environment_and_secrets_from_files(tmp_path):
    file = tmp_path / "key"
    file.write_text("hush\n")
    env = {
        "IOP_BATCH": "7",
        "IOP_STRICT": "yes",
        "IOP_CHANNELS": "sms, ivr",
        "IOP_KEY_FILE": str(file),
        "IOP_LIMIT": "",
    }
    settings = config.load(Settings, env)
    assert settings == Settings(batch=7, strict=True, channels=("sms", "ivr"), limit=None, key="hush")
    assert config.masked(settings)["key"] == "***"
    assert "hush" not in repr(settings)
    with pytest.raises(errors.Invalid) as caught:
        config.load(Settings, {"IOP_BATCH": "many", "IOP_STRICT": "perhaps"})
    assert [name for name, _ in caught.value.fields] == ["IOP_BATCH", "IOP_STRICT"]


def test_the_runtime_knows_peers_and_keys():
    env = {
        "DATABASE_URL_EVENT": "postgresql://e:pw@h/d",
        "IOP_ADDR_AUDIENCE": "a:1",
        "IOP_ACTOR_KEYS": "k1,k2",
    }
    runtime = config.runtime("event", env)
    assert (runtime.addresses, runtime.actor_keys) == ({"audience": "a:1"}, ("k1", "k2"))
    assert config.masked(runtime)["database_url"] == "postgresql://e:***@h/d"
    assert "pw" not in repr(runtime)


def test_logs_are_json_and_mask_numbers(capsys):
    logger = log.make("kit")
    logger.info("sent to %s", "18812343500", extra={"campaign": "c1"})
    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["campaign"], line["service"]) == ("sent to 188****3500", "c1", "kit")
    assert logging.getLogger("iop.kit").handlers == []
    assert mask.phone("18812343500") == "188****3500"
    assert mask.phone("10086") == "*****"
    assert (
        mask.text("id 1772608200000000 stays, 13912345678 does not")
        == "id 1772608200000000 stays, 139****5678 does not"
    )


def test_a_page_token_belongs_to_its_request(echo):
    request = echo.pb.EchoRequest(text="a", page_size=10)
    token = page.token([3, "x"], request)
    assert page.read(token, echo.pb.EchoRequest(text="a", page_size=99, page_token=token)) == [3, "x"]
    assert page.read("", request) is None
    altered = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    for bad, args in (
        (token, echo.pb.EchoRequest(text="b")),
        (altered, request),
        ("nonsense!", request),
        ("YQ", request),
    ):
        with pytest.raises(errors.Invalid) as caught:
            page.read(bad, args)
        assert caught.value.reason == "PAGE_TOKEN_INVALID"
    assert page.read(page.token([1], {"q": 1}), {"q": 1, "page_size": 5}) == [1]
    assert (page.size(0), page.size(20), page.size(5000)) == (50, 20, 1000)
    with pytest.raises(errors.Invalid):
        page.size(-1)


def test_names_and_etags():
    assert resource.name("campaigns", "c1", "activities", 2) == "campaigns/c1/activities/2"
    assert resource.ids("campaigns/c1/activities/2", "campaigns", "activities") == ("c1", "2")
    for bad in ("campaigns/", "campaigns/a/b", "tags/x", "campaigns/a b", "campaigns/../x"):
        with pytest.raises(errors.Invalid):
            resource.parse(bad, "campaigns")
    resource.check_etag("", 3)
    resource.check_etag(resource.etag(3), 3)
    with pytest.raises(errors.Conflict) as caught:
        resource.check_etag(resource.etag(2), 3)
    assert caught.value.reason == "ETAG_STALE"
    assert len({resource.new_id() for _ in range(100)}) == 100


def test_one_hash_for_one_key_and_for_many():
    keys = np.array([0, 1, 2**31, 2**62, -5, 13912345678], dtype=np.int64)
    assert partition.partitions_of(keys, 16).tolist() == [partition.partition_of(int(k), 16) for k in keys]
    assert partition.partition_of(1, 4) == partition.partition_of(np.int64(1).item(), 4)
    spread = np.bincount(partition.partitions_of(np.arange(100_000), 4), minlength=4)
    assert spread.min() > 24_000
    assert partition.token(7) == "p07"


def test_filters_and_subjects_follow_the_contract(echo):
    assert envelope.filter_of(echo.pb.Wanted) == "iop.kittest.v1.work.wanted.*.*"
    assert envelope.filter_of(echo.pb.Wanted, 3, "high") == envelope.address(echo.pb.Wanted, 3, "high")
    assert envelope.address(echo.pb.Wanted, 3, "high") == "iop.kittest.v1.work.wanted.high.p03"
    assert envelope.split("iop.kittest.v1.work.wanted.high.p03", "iop.kittest.v1.work.wanted") == (3, "high")
    with pytest.raises(ValueError, match="no .* option"):
        envelope.subject_of(echo.pb.Item)


async def test_a_replica_grows_and_follows(tmp_path):
    source = {"id": np.arange(5, dtype=np.int64) * 10, "region": np.full(5, 150100, np.int32)}
    asked = []

    async def fetch(version):
        asked.append(version)
        rows = len(source["id"])
        for start in range(0 if version == 0 else version, rows, 3):
            part = {name: column[start : start + 3] for name, column in source.items()}
            yield start, part, min(rows, start + 3)

    copy = replica.ColumnReplica(fetch, {"id": np.int64, "region": np.int32})
    assert await copy.refresh() and (len(copy), copy.version) == (5, 5)
    assert copy.column("id").tolist() == [0, 10, 20, 30, 40]
    early = copy.column("id")
    source["id"] = np.arange(3000, dtype=np.int64) * 10
    source["region"] = np.full(3000, 150200, np.int32)
    assert await copy.refresh()
    assert copy.column("id").tolist() == (np.arange(3000) * 10).tolist()
    assert early.tolist() == [0, 10, 20, 30, 40]
    assert asked == [0, 5]
    assert not await copy.refresh()
    with pytest.raises(ValueError, match="read-only"):
        copy.column("id")[0] = 1


def test_new_traces_begin_only_where_they_may(exporter):
    traces = telemetry.Telemetry("kit", exporter=exporter, ratio=1.0)
    with traces.span("a job's own step") as span:
        assert not span.is_recording()
        assert telemetry.inject() == {}
    with traces.sampled_root("touch", 0.0):
        headers = telemetry.inject()
        with traces.span("below") as span:
            assert not span.is_recording()
    assert not telemetry.sampled(headers["traceparent"])
    with traces.span("run", root=True):
        run = telemetry.inject()
    with traces.sampled_root("touch", 1.0, links=telemetry.link(run)) as touch:
        assert touch.is_recording()
    with pytest.raises(RuntimeError), traces.span("breaks", root=True):
        raise RuntimeError("boom")
    with pytest.raises(errors.NotFound), traces.span("misses", root=True):
        raise errors.NotFound("no such thing")
    traces.event("failure", links=telemetry.link(run), failed="adapter away")
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"run", "touch", "breaks", "misses", "failure"}
    assert spans["touch"].links[0].context.trace_id == spans["run"].context.trace_id
    assert spans["touch"].context.trace_id != spans["run"].context.trace_id
    assert spans["breaks"].status.is_ok is False
    assert spans["misses"].status.is_ok
    for span in spans.values():
        assert attributes.unknown(span.attributes) == set()
    assert telemetry.extract({"traceparent": "rubbish"}) == telemetry.Context()


def test_every_attribute_key_written_in_the_code_is_registered():
    """Span attributes are named in the registry only."""
    import re

    root = Path(app.__file__).resolve().parent.parent
    literal = re.compile(r"set_attribute\(\s*\"([^\"]+)\"")
    used = {key for path in root.rglob("*.py") for key in literal.findall(path.read_text())}
    assert attributes.unknown(used) == set()


def test_spans_are_what_the_otlp_exporter_reads(exporter):
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    traces = telemetry.Telemetry("kit", exporter=exporter)
    with traces.span("run", root=True):
        other = telemetry.inject()
    with pytest.raises(RuntimeError), traces.span("outer", {attributes.ROWS: 3}, root=True) as outer:
        outer.set_attributes({attributes.CAMPAIGN_ID: "c1"})
        outer.add_event("half way", {attributes.ROWS: 1})
        with traces.span("inner", links=telemetry.link(other)):
            raise RuntimeError("boom")
    encoded = encode_spans(exporter.get_finished_spans()).resource_spans[0]
    resource_values = {item.key: item.value.string_value for item in encoded.resource.attributes}
    assert resource_values["service.name"] == "kit"
    spans = {span.name: span for span in encoded.scope_spans[0].spans}
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert spans["inner"].links[0].trace_id == spans["run"].trace_id
    assert spans["inner"].status.message == "boom"
    assert [event.name for event in spans["outer"].events] == ["half way", "exception"]
    assert {item.key for item in spans["outer"].attributes} >= {attributes.ROWS, attributes.CAMPAIGN_ID}
    assert spans["outer"].end_time_unix_nano >= spans["outer"].start_time_unix_nano > 0
