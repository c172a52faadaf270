"""The vectorised executor against a plain evaluation row by row, and the engine's parts."""

import math
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from services.audience.domain.catalogue import (
    EPOCH,
    Frequency,
    Tag,
    TagClass,
    TagType,
    day_number,
    value_text,
)
from services.audience.domain.condition import (
    ALLOWED,
    AllOf,
    AnyOf,
    Comparison,
    Constant,
    Member,
    Not,
    Operator,
    check,
)
from services.audience.engine import bitmap, execute, report
from services.audience.engine.columns import Column, ColumnStore, missing_code
from services.audience.engine.directory import Directory, KeyIndex
from services.audience.engine.staging import Scratch, StagedColumn, decode
from services.kit import errors
from tests.audience import oracle

DATA_DATE = date(2026, 10, 31)


def entry(code, kind, **more):
    return Tag(code, code, TagClass.BASIC, kind, Frequency.DAY, **more)


def codes_of(count):
    return tuple((f"c{i}", "") for i in range(count))


TAGS = {
    tag.code: tag
    for tag in (
        entry("small", TagType.NUMBER),
        entry("spend", TagType.NUMBER, decimals=2),
        entry("huge", TagType.NUMBER, decimals=4),
        entry("brand", TagType.ENUMERATION, values=codes_of(5)),
        entry("plan", TagType.ENUMERATION, values=codes_of(300)),
        entry("cell", TagType.ENUMERATION, values=codes_of(60_000)),
        entry("vip", TagType.FLAG),
        entry("joined", TagType.DATE),
        entry("apps", TagType.SET, values=codes_of(6)),
        entry("sites", TagType.SET, values=codes_of(64)),
        entry("text_name", TagType.TEXT),
    )
}
WORDS = ("", "王", "王先生", "李女士", "先生", "x")


def values_of(tag):
    """Values as the oracle knows them; None is missing."""
    if tag.type == TagType.NUMBER:
        limits = {"small": 60, "spend": 5000, "huge": 10**12}[tag.code]
        whole = st.integers(-limits, limits)
        edges = st.sampled_from([0, 2800, 3800, -limits, limits])
        return st.one_of(st.none(), (whole | edges).map(lambda n: Decimal(n).scaleb(-tag.decimals)))
    if tag.type == TagType.ENUMERATION:
        return st.one_of(st.none(), st.sampled_from([code for code, _ in tag.values]))
    if tag.type == TagType.FLAG:
        return st.sampled_from([None, True, False])
    if tag.type == TagType.DATE:
        return st.one_of(st.none(), st.integers(-40, 40).map(lambda n: DATA_DATE + timedelta(days=n)))
    if tag.type == TagType.SET:
        return st.frozensets(st.sampled_from([code for code, _ in tag.values]), max_size=3)
    return st.sampled_from(WORDS).map(lambda word: word or None)


def constants_of(tag):
    if tag.type == TagType.NUMBER:
        known = values_of(tag).filter(lambda v: v is not None).map(float)
        between = st.floats(-100, 100, allow_nan=False).map(lambda f: round(f, 5))
        far = st.sampled_from([-1e300, 1e300, 28.005, 0.0])
        whole = st.integers(-(2**63), 2**63 - 1).map(lambda n: Constant("id", n))
        return st.one_of((known | between | far).map(lambda f: Constant("number", f)), whole)
    if tag.type == TagType.FLAG:
        return st.booleans().map(lambda b: Constant("flag", b))
    if tag.type == TagType.DATE:
        days = st.integers(-40, 40)
        fixed = days.map(lambda n: (DATA_DATE + timedelta(days=n)).isoformat())
        return (fixed | days.map(lambda n: f"{n}d")).map(lambda text: Constant("date", text))
    if tag.type == TagType.TEXT:
        return st.sampled_from(WORDS[1:]).map(lambda text: Constant("text", text))
    return st.sampled_from([code for code, _ in tag.values]).map(lambda text: Constant("text", text))


@st.composite
def comparisons(draw):
    tag = draw(st.sampled_from(list(TAGS.values())))
    operator = draw(st.sampled_from(sorted(ALLOWED[tag.type])))
    if operator in (Operator.EXISTS, Operator.NOT_EXISTS):
        count = (0, 0)
    elif operator == Operator.BETWEEN:
        count = (2, 2)
    elif operator in (Operator.IN, Operator.NOT_IN, Operator.CONTAINS, Operator.NOT_CONTAINS):
        count = (1, 12)
    else:
        count = (1, 1)
    values = draw(st.lists(constants_of(tag), min_size=count[0], max_size=count[1]))
    if operator == Operator.BETWEEN:
        values.sort(key=lambda item: oracle.constant(item.kind, item.value, DATA_DATE))
    return Comparison(tag.code, operator, tuple(values), draw(st.booleans()), draw(st.booleans()))


def trees():
    leaves = comparisons() | st.just(Member("lists/some"))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map(lambda nodes: AllOf(tuple(nodes))),
            st.lists(inner, max_size=4).map(lambda nodes: AnyOf(tuple(nodes))),
            inner.map(Not),
        ),
        max_leaves=8,
    )


def wire(tag, values):
    """A column of values as a load sends it: (data, texts)."""
    if tag.type == TagType.TEXT:
        return b"", [value or "" for value in values]
    if tag.type == TagType.NUMBER:
        return np.array([math.nan if v is None else float(v) for v in values], dtype="<f8").tobytes(), []
    if tag.type == TagType.ENUMERATION:
        return np.array([-1 if v is None else tag.index[v] for v in values], dtype="<i4").tobytes(), []
    if tag.type == TagType.FLAG:
        return np.array([255 if v is None else v for v in values], dtype="u1").tobytes(), []
    if tag.type == TagType.DATE:
        missing = np.iinfo(np.int32).min
        return np.array([missing if v is None else day_number(v) for v in values], dtype="<i4").tobytes(), []
    return np.array([sum(1 << tag.index[c] for c in v) for v in values], dtype="<u8").tobytes(), []


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return ColumnStore(tmp_path_factory.mktemp("columns"))


def load(store, tag, values):
    """The column of values, through the same decoding, staging and narrowing as a real load."""
    scratch = Scratch(store.folder.parent / "staging")
    staged = StagedColumn(tag, None, len(values), scratch.file(tag.code))
    decoded = decode(tag, *wire(tag, values), len(values), "columns[0]")
    assert not decoded.bad.any()
    staged.put(np.arange(len(values)), decoded, np.ones(len(values), dtype=bool))
    codes, texts = staged.finish()
    scratch.close()
    return Column(codes, missing_code(tag.type, codes.dtype), texts)


rows_strategy = st.fixed_dictionaries(
    {code: values_of(tag) for code, tag in TAGS.items()} | {"lists/some": st.booleans()}
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(rows_strategy, min_size=1, max_size=12), condition=trees(), beyond=st.integers(0, 3))
def test_the_executor_agrees_with_the_oracle(store, rows, condition, beyond):
    """Every operator, type, missing value and bound gives what a plain evaluation gives (AUD-07, AUD-09).

    Subscribers that joined after a column was written have no value.
    """
    try:
        checked = check(condition, TAGS.get, lambda _: DATA_DATE)
    except errors.Invalid as problem:
        assert problem.reason == "CONDITION_IMPOSSIBLE"
        reject()
    columns = {code: load(store, tag, [row[code] for row in rows]) for code, tag in TAGS.items()}
    nobody = {code: frozenset() if tag.type == TagType.SET else None for code, tag in TAGS.items()}
    everyone = [*rows, *([nobody | {"lists/some": False}] * beyond)]
    some = np.array([row["lists/some"] for row in rows])
    step = execute.build(checked, lambda test: columns[test.tag.code], lambda _: some)
    expected = [oracle.matches(condition, row, DATA_DATE) for row in everyone]
    assert execute.select(step, len(everyone)).tolist() == expected
    assert execute.count_of(step, len(everyone)) == sum(expected)
    assert [execute.one(step, i) for i in range(len(everyone))] == expected


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(comparison=comparisons())
def test_an_impossible_condition_matches_nobody(comparison):
    """What the check refuses as impossible holds for no value that a column can store."""
    try:
        check(comparison, TAGS.get, lambda _: DATA_DATE)
    except errors.Invalid as problem:
        assert problem.reason == "CONDITION_IMPOSSIBLE"
        tag = TAGS[comparison.field]
        near = [oracle.constant(c.kind, c.value, DATA_DATE) for c in comparison.values]
        if tag.type == TagType.NUMBER:
            unit = Decimal(1).scaleb(-tag.decimals)
            candidates = [
                round(v, tag.decimals) + step * unit for v in near if abs(v) < 10**13 for step in (-1, 0, 1)
            ]
        else:
            candidates = near
        assert not any(oracle.compare(comparison, value, DATA_DATE) for value in candidates)


@pytest.mark.parametrize("blocks", [2, 9])
def test_blocks_meet_without_a_seam(store, blocks):
    """A selection over several blocks and cores, the last one short, with columns of different length."""
    count = blocks * execute.BLOCK + 17
    rng = np.random.default_rng(3)
    spend, brand = TAGS["spend"], TAGS["brand"]
    money = rng.integers(0, 5000, count) / 100
    kinds = rng.integers(-1, 5, count - 1000)
    fen, kind_codes = np.rint(money * 100).astype(np.int16), np.where(kinds < 0, 255, kinds)
    columns = {
        "spend": store.open(store.write(spend, "2026-10-31", fen), spend.type),
        "brand": store.open(store.write(brand, "2026-10-31", kind_codes.astype(np.uint8)), brand.type),
    }
    condition = AllOf(
        (
            Comparison(
                "spend", Operator.BETWEEN, (Constant("number", 10.0), Constant("number", 30.0)), True, False
            ),
            Comparison("brand", Operator.NOT_IN, (Constant("text", "c1"), Constant("text", "c3"))),
        )
    )
    step = execute.build(
        check(condition, TAGS.get, lambda _: DATA_DATE), lambda t: columns[t.tag.code], lambda _: None
    )
    known = np.concatenate([kinds, np.full(1000, -1)])
    expected = (money > 10) & (money <= 30) & ~np.isin(known, [1, 3])
    assert np.array_equal(execute.select(step, count), expected)
    assert execute.count_of(step, count) == expected.sum()
    later = execute.select(step, count, execute.BLOCK - 5)
    assert np.array_equal(later, expected[execute.BLOCK - 5 :])


def test_a_damaged_file_is_noticed(tmp_path):
    store = ColumnStore(tmp_path / "columns")
    written = store.write(TAGS["small"], "2026-10-31", np.arange(10, dtype=np.int8))
    path = store.folder / written.name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(errors.Unavailable, match="damaged"):
        store.open(written, TagType.NUMBER)


def test_files_that_nobody_names_are_swept(tmp_path):
    store = ColumnStore(tmp_path / "columns")
    kept = store.write(TAGS["text_name"], "2026-10-31", np.zeros(3, dtype=np.uint8), ["a"])
    gone = store.write(TAGS["text_name"], "2026-10-31", np.zeros(3, dtype=np.uint8), ["b"])
    assert store.sweep({kept.name}, older_than_s=60) == 0
    assert store.sweep({kept.name}, older_than_s=-1) == 2
    assert store.open(kept, TagType.TEXT).texts == ("a",)
    with pytest.raises(errors.Unavailable):
        store.open(gone, TagType.TEXT)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), max_size=6), max_size=8))
def test_the_directory_is_a_plain_mapping(chunks):
    """Loads of any shape leave what a dictionary would hold: each number with its latest holder."""
    directory = Directory()
    holders, numbers = {}, {}
    for version, chunk in enumerate(chunks, start=1):
        ids = np.array([row[0] for row in chunk], dtype=np.int64)
        phones = np.array([10_000_000_000 + row[1] for row in chunk], dtype=np.int64)
        seen = np.zeros(directory.count, dtype=bool)
        plan = directory.plan(ids, phones, np.full(len(ids), 150102, dtype=np.int32), seen)
        directory.apply(plan, version)
        taken_ids, taken_phones = set(), set()
        accepted = []
        for key, phone in zip(ids.tolist(), phones.tolist(), strict=True):
            if key in taken_ids:
                continue
            taken_ids.add(key)
            if phone in taken_phones:
                continue
            taken_phones.add(phone)
            accepted.append((key, phone))
        assert len(plan.refused) == len(ids) - len(accepted)
        for key, _ in accepted:
            if key in numbers and holders.get(numbers[key]) == key:
                del holders[numbers[key]]
        for key, phone in accepted:
            if holders.get(phone) not in (None, key):
                numbers[holders[phone]] = 0
            holders[phone], numbers[key] = key, phone
    known = np.array(sorted(numbers), dtype=np.int64)
    ordinals = directory.find_ids(known)
    assert directory.subscriber_ids[ordinals].tolist() == known.tolist()
    assert directory.phones[ordinals].tolist() == [numbers[key] for key in known.tolist()]
    wanted = np.arange(1, 13) + 10_000_000_000
    found = directory.find_phones(wanted)
    owners = [int(directory.subscriber_ids[o]) if o >= 0 else None for o in found.tolist()]
    assert owners == [holders.get(int(phone)) for phone in wanted]
    assert directory.find_ids(np.array([99]))[0] == -1 and directory.find_phones(np.array([0]))[0] == -1


def test_an_index_grows_and_forgets_stale_keys():
    """Keys that collide, move and come back are found at their latest place."""
    index, column = KeyIndex(), np.zeros(120_000, dtype=np.int64)
    for low in range(0, 120_000, 5000):
        keys = np.arange(low, low + 5000) * 4096 + 1
        column[low : low + 5000] = keys
        index.add(keys, np.arange(low, low + 5000), column)
    assert np.array_equal(index.find(column, column), np.arange(120_000))
    assert index.find(np.array([2, 0, -5]), column).tolist() == [-1, -1, -1]
    for shift in range(40):
        moved = np.roll(column[:3000], 1)
        column[:3000] = moved
        index.add(moved, np.arange(3000), column)
        assert np.array_equal(index.find(column, column), np.arange(120_000)), shift


def test_counts_of_many_attributes():
    """Joint counting gives what counting each attribute alone gives, columns of any length."""
    rng = np.random.default_rng(5)
    count = execute.BLOCK * 2 + 100
    mask = rng.random(count) < 0.4
    attributes = []
    for size, length in ((3, count), (200, count - 70), (256, count), (2, 50), (40_000, count), (9, count)):
        kind = np.uint8 if size <= 256 else np.uint16
        attributes.append(report.Attribute(rng.integers(0, size, length).astype(kind), size))
    for chosen in (mask, np.ones(count, dtype=bool), np.zeros(count, dtype=bool)):
        found = report.count(attributes, chosen)
        for attribute, counts in zip(attributes, found, strict=True):
            full = np.full(count, attribute.size - 1, dtype=np.int64)
            full[: len(attribute.codes)] = attribute.codes
            assert np.array_equal(counts, np.bincount(full[chosen], minlength=attribute.size))


def test_bitmaps_travel_as_portable_roaring():
    mask = np.zeros(200_000, dtype=bool)
    mask[[1, 5, 70_000]] = True
    mask[100_000:180_000] = True
    data = bitmap.serialize(bitmap.from_mask(mask))
    assert len(data) < 1000
    assert np.array_equal(bitmap.to_mask(bitmap.deserialize(data), len(mask)), mask)
    assert bitmap.to_mask(bitmap.deserialize(data), 6).tolist() == [False, True, False, False, False, True]


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.03, 0.07, 0.5, 1.0])
@pytest.mark.parametrize("count", [0, 1, 65_535, 65_536, 200_001])
def test_a_mask_is_a_bitmap(share, count):
    """Containers of every kind, the last one cut off."""
    mask = np.random.default_rng(count).random(count) < share
    made = bitmap.from_mask(mask)
    assert np.array_equal(bitmap.to_array(made), np.flatnonzero(mask))
    assert made == bitmap.from_ordinals(np.flatnonzero(mask)) and len(made) == mask.sum()


def test_codes_of_sets_and_means(store):
    """Counts by code and means leave out whoever has no value."""
    rng = np.random.default_rng(9)
    count = execute.BLOCK + 1000
    mask = rng.random(count + 50) < 0.3
    masks = rng.integers(0, 2**63, count, dtype=np.uint64)
    sites = store.open(store.write(TAGS["sites"], "2026-10-31", masks), TagType.SET)
    expected = [int(np.count_nonzero((masks >> np.uint64(bit) & 1 == 1) & mask[:count])) for bit in range(64)]
    assert report.count_set(sites, 64, mask).tolist() == expected
    codes = rng.integers(-100, 100, count).astype(np.int8)
    codes[:50] = -128
    small = store.open(store.write(TAGS["small"], "2026-10-31", codes), TagType.NUMBER)
    chosen = codes[mask[:count] & (codes != -128)]
    assert report.mean(small, mask) == pytest.approx(chosen.mean())
    assert report.mean(small, np.zeros(count, dtype=bool)) == 0.0


def test_values_read_as_written():
    assert value_text(TAGS["spend"], 2850) == "28.5" and value_text(TAGS["spend"], -5) == "-0.05"
    assert value_text(TAGS["joined"], 3) == (EPOCH + timedelta(days=3)).isoformat()
    assert value_text(TAGS["apps"], 0b101) == "c0、c2"
