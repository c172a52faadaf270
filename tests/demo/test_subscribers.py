"""Generated subscribers: identity, tags, planted bounds, models."""

import itertools

import numpy as np
import phonenumbers
import pytest
from phonenumbers import geocoder

from demo import homes, region, stations, subscribers, tags, vocabulary
from demo.campuses import campuses

COUNT = 60_000


@pytest.fixture(scope="module")
def population():
    (chunk,) = subscribers.generate(COUNT, seed=3)
    return chunk


def test_numbers_belong_to_the_home_league(population):
    """Numbers are distinct, lie in segments of the home league, and ids are distinct and not dense."""
    assert len(set(population.phone.tolist())) == COUNT
    assert (region.segments().city_of(population.phone) == population.city).all()
    assert (population.county // 100 * 100 == population.city).all()
    assert not np.isin(population.phone, homes.RESERVED_PHONES).any()
    ids = np.sort(population.subscriber_id)
    assert (np.diff(ids) > 0).all() and np.diff(ids).max() > 1000 and ids[-1] < 1 << 53
    in_wuhai = population.phone[population.city == 150300][:50]
    places = [
        geocoder.description_for_number(phonenumbers.parse(str(one), "CN"), "en") for one in in_wuhai.tolist()
    ]
    # The two tables are of different years, so a few segments may be known to one only.
    assert sum("Wuhai" in place for place in places) >= 40


def test_reserved_numbers_are_given_to_nobody(monkeypatch):
    """Rows that would get a reserved number get another one, still in its league and given to no one else."""
    before, _ = homes.phones(np.arange(5_000), 1)
    monkeypatch.setattr(homes, "RESERVED_PHONES", tuple(before[[17, 4_000]].tolist()))
    after, city = homes.phones(np.arange(5_000), 1)
    assert not np.isin(after, homes.RESERVED_PHONES).any()
    assert len(np.unique(after)) == 5_000
    assert (after == before).sum() == 4_998
    assert (region.segments().city_of(after) == city).all()


def test_league_shares_follow_the_segments(population):
    """Each league has its share of the China Mobile segments, within sampling error."""
    segments = region.segments()
    for league in region.load().leagues:
        share = (segments.cities == league.adcode).mean()
        assert abs((population.city == league.adcode).mean() - share) < 4 * np.sqrt(share / COUNT)


def test_planted_subscribers_show_open_and_closed_bounds(population):
    """On 28 and 38 yuan nobody fits; on 200, 300 MB, 50, 70 minutes everybody does (AUD-09, AUD-30)."""
    fits = population.caliber()
    counts = np.bincount(population.planted, minlength=7)[1:]
    assert counts.tolist() == [subscribers.PLANTED_PER_BOUND] * 6
    assert not fits[np.isin(population.planted, (1, 2))].any()
    assert fits[population.planted >= 3].all()
    exact = {1: ("monthly_spend", 28.0), 2: ("monthly_spend", 38.0), 3: ("monthly_traffic", 200.0)}
    exact |= {4: ("monthly_traffic", 300.0), 5: ("outgoing_minutes", 50.0), 6: ("outgoing_minutes", 70.0)}
    for mark, (code, value) in exact.items():
        assert (population.column(code)[population.planted == mark] == value).all()
    # The floating columns decide as the exact ones do.
    spend, traffic = population.column("monthly_spend"), population.column("monthly_traffic")
    minutes = population.column("outgoing_minutes")
    again = (
        (spend > 28) & (spend < 38) & (traffic >= 200) & (traffic <= 300) & (minutes >= 50) & (minutes <= 70)
    )
    assert (again == fits).all() and fits.sum() > 200


def test_columns_have_the_types_of_the_catalogue(population):
    """About 90 tags in three classes; each value is of its type and among its tag's (AUD-01, AUD-04)."""
    catalogue = tags.catalogue()
    assert {tag.tag_class for tag in catalogue} == {tags.BASIC, tags.BEHAVIOUR, tags.SCENARIO}
    assert len({tag.code for tag in catalogue}) == len(catalogue) >= 80
    dtypes = {
        tags.NUMBER: "f8",
        tags.ENUMERATION: "i4",
        tags.FLAG: "u1",
        tags.DATE: "i4",
        tags.SET: "u8",
        tags.TEXT: "O",
    }
    for tag in catalogue:
        column = population.column(tag.code)
        assert column.dtype == np.dtype(dtypes[tag.type]), tag.code
        assert len(column) == COUNT
        assert set(tag.lineage) <= set(tags.by_code()), tag.code
        if tag.type == tags.ENUMERATION:
            assert column.min() >= -1 and column.max() < len(tag.values), tag.code
            assert len({code for code, _ in tag.values}) == len(tag.values)
        elif tag.type == tags.FLAG:
            assert set(np.unique(column)) <= {0, 1}, tag.code
        elif tag.type == tags.SET:
            assert len(tag.values) <= 64 and int(column.max()) < 1 << len(tag.values)
        elif tag.type == tags.NUMBER:
            assert not np.isnan(column).all(), tag.code
    assert {tag.frequency for tag in catalogue} == {tags.DAY, tags.MONTH}


def test_behaviour_keeps_the_signs_of_the_tables(population):
    """Who leaves is newer, pays more, calls the hotline more; minutes and traffic rise with spend."""
    gone = population.churned
    for code, more in (
        ("tenure_months", False),
        ("monthly_spend", True),
        ("hotline_calls", True),
        ("churn_score", True),
    ):
        values = population.column(code)
        assert (values[gone].mean() > values[~gone].mean()) == more, code
    fifth = np.argsort(population.column("monthly_spend"), kind="stable").reshape(5, -1)
    for code in ("outgoing_minutes", "monthly_traffic"):
        middles = np.median(population.column(code)[fifth], axis=1)
        assert (np.diff(middles) > 0).all(), code
    score = population.column("churn_score")
    steps = [gone[(score >= low) & (score < low + 20)].mean() for low in (0, 20, 40, 60)]
    assert steps == sorted(steps)


def test_fees_and_quotas_add_up(population):
    """Fees sum to the spend; derived tags follow from the tags they name."""
    stored = population.stored
    assert (
        stored["voice_fee"] + stored["traffic_fee"] + stored["value_added_fee"] == stored["monthly_spend"]
    ).all()
    assert min(stored[code].min() for code in ("voice_fee", "traffic_fee", "value_added_fee")) >= 0
    beyond = np.maximum(stored["monthly_traffic"] - stored["plan_traffic"], 0)
    assert (stored["out_of_plan_traffic"] == beyond).all()
    assert (stored["terminal_brand"] == vocabulary.TERMINAL_BRAND_INDEX[stored["terminal_model"]]).all()
    both = (stored["terminal_4g"] == 1) & (stored["sim_4g"] == 1)
    assert both[stored["integrated_4g"] == 1].all()
    assert ((stored["is_minor"] == 1) == (stored["age"] < 18)).all()


def test_models_are_formulas_over_other_tags(population):
    """The scores are recomputed from the columns alone (AUD-18, AUD-19, AUD-24)."""
    get = population.column
    churn = (
        20 * (get("tenure_months") < 12)
        + 15 * (get("contract") == 0)
        + 8 * np.minimum(get("hotline_calls"), 4)
        + 10 * np.minimum(get("arrears_6m"), 2)
        + 0.5 * np.clip(-get("spend_change_3m"), 0, 40)
        + 0.2 * get("competitor_share")
        - 10 * (get("broadband") == 1)
    )
    assert (get("churn_score") == np.floor(np.clip(churn, 0, 100))).all()
    up_tier = np.floor(100 * np.clip(get("monthly_spend") / get("plan_fee") - 1, 0, 1))
    assert (get("up_tier_score") == up_tier).all()
    idle = np.where(np.isnan(get("traffic_saturation")), 0, np.maximum(100 - get("traffic_saturation"), 0))
    assert (get("low_saturation_score") == np.floor(idle)).all()
    level = np.select([get("churn_score") >= 60, get("churn_score") >= 35], [2, 1], 0)
    assert (get("churn_level") == level).all()


def test_scenarios_name_who_they_are_for(population):
    """Bits of the scenario set agree with their rule (AUD-26)."""
    scenario = tags.by_code()["scenarios"]

    def bit(code):
        return (population.column("scenarios") >> np.uint64(scenario.index_of(code)) & np.uint64(1)).astype(
            bool
        )

    assert (bit("college") == (population.column("campus_role") == homes.STUDENT)).all()
    assert (bit("over_plan") == (population.column("out_of_plan_traffic") > 0)).all()
    assert (bit("base_warning") == (population.column("churn_level") == 2)).all()
    assert all(bit(code).any() for code, _ in scenario.values)


def test_students_live_on_their_campus(population):
    """Students have school, year and class, and their home cell is a cell of their campus."""
    net, rows = stations.network(), population.identity
    students = np.flatnonzero(rows.campus_role == homes.STUDENT)
    assert abs(len(students) / COUNT - homes.STUDENT_SHARE) < 0.01
    for row in students[:300].tolist():
        assert rows.home_cell[row] in net.cells_of_campus[rows.campus[row]]
        assert campuses()[rows.campus[row]].county == rows.county[row]
    years = population.column("enrolment_year")
    assert np.isnan(years[rows.campus_role != homes.STUDENT]).all()
    assert set(years[students]) <= {2016, 2017, 2018, 2019, 2020}
    assert ((population.column("freshman") == 1) == (years == 2020)).all()


def test_lists_hold_whom_the_tags_name(population):
    """Minors and those without consent are on the lists that always exclude them (AUD-10, AUD-31)."""
    assert (population.suppressed["minor"] == (population.column("age") < 18)).all()
    assert (population.suppressed["no_consent"] == (population.column("marketing_consent") == 0)).all()
    assert all(members.any() and not members.all() for members in population.suppressed.values())
    assert ((population.sensitive_reason >= 0) == population.suppressed["sensitive"]).all()


def test_the_same_seed_gives_the_same_people_in_any_chunking(monkeypatch):
    """Deterministic; another seed differs; chunks join without a repeated number or id."""
    first, second = (next(subscribers.generate(4_000, seed=9)) for _ in range(2))
    assert all((first.stored[code] == second.stored[code]).all() for code in first.stored)
    other = next(subscribers.generate(4_000, seed=10))
    assert (first.phone != other.phone).any()
    monkeypatch.setattr(subscribers, "CHUNK", 1_500)
    chunks = list(subscribers.generate(4_000, seed=9))
    assert [len(chunk) for chunk in chunks] == [1_500, 1_500, 1_000]
    assert (np.concatenate([chunk.phone for chunk in chunks]) == first.phone).all()
    assert sum(int((chunk.planted > 0).sum()) for chunk in chunks) == 6 * subscribers.PLANTED_PER_BOUND
    larger = itertools.islice(subscribers.generate(9_000, seed=9), 1)
    assert all((a.stored["monthly_spend"] == chunks[0].stored["monthly_spend"]).all() for a in larger)


@pytest.mark.parametrize("count", [0, 10_000_001])
def test_a_size_out_of_range_is_refused(count):
    """Between one and ten million subscribers."""
    with pytest.raises(ValueError, match="count"):
        next(subscribers.generate(count))
