"""Tags of subscribers from their draw: who they are, what they use, what they prefer, where they study."""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from demo import behaviour, homes, region, stations, vocabulary
from demo.campuses import campuses, schools

MISSING = np.iinfo(np.int32).min
Columns = dict[str, NDArray]
_MEDICINE = next(index for index, (code, _) in enumerate(vocabulary.FACULTIES) if code == "medicine")


def days(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def _flag(rng: np.random.Generator, chance: NDArray | float, count: int) -> NDArray[np.uint8]:
    return (rng.random(count) < chance).astype(np.uint8)


def people(rng: np.random.Generator, place: homes.Homes, drawn: behaviour.Draw, as_of: date) -> Columns:
    """Age, gender, tenure and what follows from them. Changes `drawn.tenure_months` of students."""
    count = len(place.phone)
    student, staff = place.campus_role == homes.STUDENT, place.campus_role == homes.STAFF
    adult = 18 + rng.gamma(2.6, 8.0, count)
    age = np.where(drawn.senior, 60 + rng.gamma(2.0, 4.0, count), np.minimum(adult, 59.9))
    parent = drawn.dependents & ~drawn.senior
    age[parent] = np.clip(age[parent], 25, 55)
    age = np.minimum(age, 88).astype(np.int64)
    young = ~drawn.senior & ~parent & (rng.random(count) < 0.03)
    age[young] = rng.integers(10, 18, int(young.sum()))
    age[staff] = np.clip(age[staff], 25, 59)
    since = _years_studied(rng, place, student)
    age[student] = 18 + since[student] + (rng.random(int(student.sum())) < 0.35)
    # A campus card is bought on enrolment, 1 September, or up to a year later.
    studied_months = since * 12 + (as_of.month - 9) % 12
    tenure = drawn.tenure_months
    bought_later = np.minimum(rng.integers(0, 13, count), studied_months)
    tenure[student] = (studied_months - bought_later)[student]
    tenure[young] = np.minimum(tenure[young], 40)
    joined = days(as_of) - tenure * 30 - rng.integers(0, 30, count)
    female = rng.random(count) < 0.487
    surname = np.minimum(rng.geometric(0.055, count) - 1, len(vocabulary.SURNAMES) - 1)
    enrolment = np.where(student, as_of.year - (as_of.month < 9) - since, MISSING)
    return {
        "gender": female.astype(np.int32),
        "age": age,
        "age_band": np.searchsorted([18, 25, 35, 45, 60], age, side="right"),
        "is_minor": (age < 18).astype(np.uint8),
        "salutation": surname + female * len(vocabulary.SURNAMES),
        "real_name": _flag(rng, 0.985, count),
        "tenure_months": tenure,
        "join_date": joined,
        "enrolment_year": enrolment,
        "campus_role": place.campus_role,
    }


def _years_studied(
    rng: np.random.Generator, place: homes.Homes, student: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Full years since enrolment; the share of first years is the campus's."""
    first = np.array([site.freshmen / site.students for site in campuses()])
    years = np.array([site.school.years for site in campuses()])
    since = np.zeros(len(student), dtype=np.int64)
    at = place.campus[student]
    roll = rng.random(len(at))
    later = 1 + ((roll - first[at]) / (1 - first[at]) * (years[at] - 1)).astype(np.int64)
    since[student] = np.where(roll < first[at], 0, later)
    return since


def _plans(rng: np.random.Generator, spend: NDArray, student: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The dearest plan that the spend covers; students are mostly on campus plans."""
    count = len(spend)
    room = spend / 100 * rng.uniform(0.8, 1.0, count)
    general, special = np.array(vocabulary.LADDER), np.array(vocabulary.CAMPUS_PLANS)
    fees = np.array([plan.fee_yuan for plan in vocabulary.PLANS])
    plan = general[np.maximum(np.searchsorted(fees[general], room, side="right") - 1, 0)]
    on_campus = np.flatnonzero(student & (rng.random(count) < 0.85) & (room >= fees[special[0]]))
    step = np.searchsorted(fees[special], room[on_campus], side="right") - 1
    plan[on_campus] = special[step]
    return plan


def usage(
    rng: np.random.Generator,
    place: homes.Homes,
    drawn: behaviour.Draw,
    who: Columns,
    measures: tuple[NDArray, NDArray, NDArray],
    as_of: date,
) -> Columns:
    """Plan, terminal, fees, traffic, calls, apps, services and preferences."""
    spend, traffic, minutes = measures
    count, today = len(spend), days(as_of)
    age, tenure = who["age"], who["tenure_months"]
    student, staff = place.campus_role == homes.STUDENT, place.campus_role == homes.STAFF
    net, land = stations.network(), region.load()
    kind = net.station_kind[net.station[place.home_cell]]
    plan = _plans(rng, spend, student)
    plans = vocabulary.PLANS
    fee = np.array([item.fee_yuan for item in plans])[plan]
    quota = np.array([item.traffic_mb for item in plans])[plan] * 100
    brand = np.where(fee >= 138, vocabulary.GOTONE, vocabulary.EASYOWN)
    brand[staff] = vocabulary.GOTONE
    brand[(student & (rng.random(count) < 0.92)) | ((age < 26) & (rng.random(count) < 0.35))] = (
        vocabulary.M_ZONE
    )

    terminal = _terminals(rng, spend, traffic)
    models_4g = np.array([item.is_4g for item in vocabulary.TERMINALS])
    terminal_4g = models_4g[terminal]
    sim_4g = rng.random(count) < np.where(terminal_4g, 0.93, 0.25)
    integrated = terminal_4g & sim_4g & np.array([item.is_4g for item in plans])[plan]

    apps = _apps(rng, age, traffic, terminal_4g)
    video = (apps & np.uint64(vocabulary.VIDEO_MASK)) != 0
    video_traffic = np.where(video, traffic * rng.beta(4, 5, count), 0).astype(np.int64)
    wired = np.array([0.0, 0.35, 0.55])[drawn.internet]  # by the internet service of the drawn row
    broadband = ~student & (age >= 18) & (rng.random(count) < wired)
    saturation = np.where(quota > 0, np.minimum(traffic * 10_000 // np.maximum(quota, 1), 99_900), MISSING)

    extra = np.maximum(spend - fee * 100, 0)
    value_added = (extra * rng.beta(2, 5, count)).astype(np.int64)
    base = spend - value_added
    traffic_fee = np.minimum(
        (base * np.clip(traffic / (traffic + minutes * 4 + 1), 0.05, 0.9)).astype(np.int64), base
    )
    change = np.rint(100 * (rng.normal(1, 11, count) - drawn.churned * rng.gamma(2, 7, count))).astype(
        np.int64
    )
    change = np.clip(change, -9500, 40_000)
    average = np.rint(spend * (1 + 1 / (1 + change / 10_000)) / 2).astype(np.int64)
    arrears = rng.poisson(0.12 + 0.7 * drawn.churned)
    competitor = np.rint(10_000 * rng.beta(2 + 1.4 * drawn.churned, 5, count)).astype(np.int64)
    silent = np.where(
        traffic + minutes < 1500, rng.integers(0, 15, count), rng.poisson(0.4 + 1.5 * drawn.churned)
    )
    contract = np.where(student & (drawn.contract == 2), 1, drawn.contract)
    term = np.where(contract == 1, 365, 730)
    expiry = today + term - (rng.random(count) * term).astype(np.int64)
    car = rng.random(count) < np.where((age >= 22) & (age < 65) & ~student, 0.16, 0.01)
    violations = np.where(car, rng.poisson(0.9, count), 0)
    wechat = (apps >> np.uint64(vocabulary.WECHAT) & np.uint64(1)).astype(bool)
    visits = rng.poisson(0.25 + 0.4 * (drawn.payment <= 1), count)
    counties = np.array([county.adcode for county in land.counties])
    cities = np.array([league.adcode for league in land.leagues])

    columns: Columns = {
        "home_city": np.searchsorted(cities, place.city),
        "home_county": np.searchsorted(counties, place.county),
        "is_urban": np.isin(kind, (stations.TOWN, stations.CAMPUS)).astype(np.uint8),
        "brand": brand,
        "plan": plan,
        "plan_fee": fee,
        "campus_plan": np.isin(plan, vocabulary.CAMPUS_PLANS).astype(np.uint8),
        "customer_status": (rng.random(count) < 0.02 + 0.04 * (arrears >= 2))
        + (rng.random(count) < 0.002) * 1,
        "payment_method": drawn.payment,
        "contract": contract,
        "contract_expiry": np.where(contract > 0, expiry, MISSING),
        "broadband": broadband,
        "broadband_bandwidth": np.where(broadband, rng.choice(3, count, p=(0.3, 0.5, 0.2)), -1),
        "set_top_box": broadband & (drawn.streaming | (rng.random(count) < 0.15)),
        "secondary_cards": rng.poisson(0.06 + 0.25 * drawn.dependents),
        "sms_contract": _flag(rng, 0.18, count),
        "terminal_brand": vocabulary.TERMINAL_BRAND_INDEX[terminal],
        "terminal_model": terminal,
        "terminal_4g": terminal_4g,
        "terminal_price": np.array([item.price_yuan for item in vocabulary.TERMINALS])[terminal],
        "terminal_months": np.minimum(rng.gamma(2.0, 8.0, count).astype(np.int64), 70),
        "sim_4g": sim_4g,
        "integrated_4g": integrated,
        "data_plus_follower": wechat & (rng.random(count) < 0.36),
        "wechat_hall_follower": wechat & (rng.random(count) < 0.30),
        "app_hall_user": terminal_4g & (rng.random(count) < np.where(age < 40, 0.42, 0.2)),
        "marketing_consent": _flag(rng, 0.955, count),
        "location_consent": _flag(rng, 0.925, count),
        "monthly_spend": spend,
        "spend_3m_average": average,
        "spend_change_3m": change,
        "voice_fee": base - traffic_fee,
        "traffic_fee": traffic_fee,
        "value_added_fee": value_added,
        "balance": np.rint(100 * rng.gamma(1.6, 25.0, count)).astype(np.int64) - arrears * 900,
        "last_recharge": today - np.minimum(rng.gamma(1.5, 14.0, count).astype(np.int64), tenure * 30),
        "arrears_6m": arrears,
        "monthly_traffic": traffic,
        "plan_traffic": quota,
        "traffic_saturation": saturation,
        "out_of_plan_traffic": np.maximum(traffic - quota, 0),
        "daily_traffic": (traffic / 30 * rng.gamma(1.5, 1 / 1.5, count)).astype(np.int64),
        "video_traffic": video_traffic,
        "outgoing_minutes": minutes,
        "incoming_minutes": (minutes * rng.gamma(8, 1.15 / 8, count)).astype(np.int64),
        "night_minutes": (minutes * drawn.night_share).astype(np.int64),
        "international_minutes": np.where(rng.random(count) < 0.02, np.rint(drawn.intl_minutes * 100), 0),
        "roaming_days": np.where(rng.random(count) < 0.12, 1 + rng.poisson(4, count), 0),
        "sms_sent": rng.poisson(np.where(age < 26, 14, 6)),
        "calling_circle": 2 + rng.poisson(np.minimum(minutes / 900, 120)),
        "competitor_share": competitor,
        "silent_days": np.minimum(silent, 30),
        "apps": apps,
        "top_app": _top_app(apps, place.phone),
        "video_app_user": video,
        "sites": _sites(rng, traffic),
        "user_12580": car & (violations > 0) | (rng.random(count) < 0.015),
        "violation_queries": violations,
        "hotline_calls": drawn.service_calls,
        "store_visits_3m": visits,
    }
    columns.update(_preferences(columns, age))
    return columns


def _terminals(rng: np.random.Generator, spend: NDArray, traffic: NDArray) -> NDArray[np.int64]:
    """A model by share; of three candidates the dearer with more spend, the cheapest without data."""
    count = len(spend)
    candidates = rng.choice(len(vocabulary.TERMINALS), (3, count), p=vocabulary.TERMINAL_SHARES)
    prices = np.array([item.price_yuan for item in vocabulary.TERMINALS])
    ordered = np.take_along_axis(candidates, np.argsort(prices[candidates], axis=0, kind="stable"), axis=0)
    step = np.where(traffic < 2000, 0, np.where(spend > 9000, 2, 1))
    return ordered[step, np.arange(count)]


def _apps(rng: np.random.Generator, age: NDArray, traffic: NDArray, smart: NDArray) -> NDArray[np.uint64]:
    """Apps used in the month: by share, more with traffic, youth by the app's liking."""
    youth = np.interp(age, (14, 24, 40, 70), (1.0, 1.0, 0.35, 0.0))
    keen = np.interp(np.log10(np.maximum(traffic, 1)), (2.7, 4.0, 5.0), (0.0, 0.8, 1.25))
    mask = np.zeros(len(age), dtype=np.uint64)
    for bit, app in enumerate(vocabulary.APPS):
        # At 40 the liking is that of all; it fades to its inverse with age.
        liking = app.youth ** (youth * 1.6 - 0.56)
        used = rng.random(len(age)) < np.minimum(app.share * liking * keen, 0.97)
        mask |= (used & (smart | (rng.random(len(age)) < 0.25))).astype(np.uint64) << np.uint64(bit)
    return mask


def _top_app(apps: NDArray[np.uint64], phone: NDArray[np.int64]) -> NDArray[np.int64]:
    """One of the apps used: the first at or after a position that follows from the number."""
    size = len(vocabulary.APPS)
    start = (phone % size).astype(np.uint64)
    full = np.uint64((1 << size) - 1)
    turned = (apps >> start | apps << (np.uint64(size) - start)) & full
    lowest = turned & (~turned + np.uint64(1))
    bit = np.log2(np.maximum(lowest, 1).astype(np.float64)).astype(np.int64)
    return np.where(apps == 0, -1, (bit + start.astype(np.int64)) % size)


def _sites(rng: np.random.Generator, traffic: NDArray) -> NDArray[np.uint64]:
    weights = np.zeros(len(vocabulary.SITE_NAMES))
    np.add.at(weights, list(vocabulary.SITE_NAME_INDEX), vocabulary.SITE_WEIGHTS)
    mask = np.zeros(len(traffic), dtype=np.uint64)
    online = traffic > 500
    for bit, weight in enumerate(weights / weights.sum()):
        mask |= (online & (rng.random(len(traffic)) < min(2.2 * weight, 0.9))).astype(np.uint64) << np.uint64(
            bit
        )
    return mask


def _preferences(columns: Columns, age: NDArray) -> Columns:
    """The six dimensions of AUD-32, each a rule over other tags."""
    apps = columns["apps"]
    play = np.uint64(sum(1 << bit for bit, app in enumerate(vocabulary.APPS) if app.code in _MUSIC_GAMES))
    return {
        "tariff_preference": np.select(
            [
                columns["monthly_traffic"] > columns["outgoing_minutes"] * 8,
                columns["outgoing_minutes"] > 15_000,
            ],
            [1, 2],
            0,
        ),
        "channel_preference": np.select(
            [
                (columns["app_hall_user"] | columns["wechat_hall_follower"]) == 1,
                columns["store_visits_3m"] > 0,
            ],
            [2, 0],
            1,
        ),
        "business_preference": np.select([columns["video_traffic"] > 10_000, (apps & play) != 0], [0, 1], 2),
        "promotion_preference": np.select(
            [columns["traffic_saturation"] > 8000, (age >= 45) | (columns["contract"] > 0)], [2, 0], 1
        ),
        "terminal_preference": np.select(
            [columns["terminal_price"] >= 2500, columns["terminal_4g"] == 1], [0, 1], 2
        ),
        "service_preference": np.select(
            [columns["hotline_calls"] >= 3, columns["app_hall_user"] == 1], [1, 0], 2
        ),
    }


_MUSIC_GAMES = ("honor_of_kings", "game_for_peace", "netease_music", "qq_music")


def campus(rng: np.random.Generator, place: homes.Homes, columns: Columns, as_of: date) -> Columns:
    """School, faculty, class, degree and campus behaviour; missing for everybody else."""
    count = len(place.phone)
    sites = campuses()
    student, there = place.campus_role == homes.STUDENT, place.campus >= 0
    school_index = {school.code: index for index, school in enumerate(schools())}
    school = np.array([school_index[site.school.code] for site in sites])
    bachelor = np.array([site.school.level == "本科" for site in sites])
    medical = np.array(["医" in site.school.name for site in sites])
    faculty = rng.integers(0, len(vocabulary.FACULTIES), count)
    faculty[there & medical[place.campus]] = _MEDICINE
    first_year = as_of.year - (as_of.month < 9)
    graduate = student & bachelor[place.campus] & (rng.random(count) < 0.07)
    degree = np.where(bachelor[place.campus], 1, 0) + graduate + (graduate & (rng.random(count) < 0.1))
    share = np.where(there, rng.beta(np.where(student, 9, 5), 3, count), rng.beta(1, 60, count))
    return {
        "school": np.where(there, school[place.campus], -1),
        "campus": place.campus,
        "freshman": student & (columns["enrolment_year"] == first_year),
        "faculty": np.where(there, faculty, -1),
        "class_number": np.where(student, rng.integers(1, 9, count), MISSING),
        "degree": np.where(student, degree, -1),
        "campus_v_net": there & (rng.random(count) < 0.4),
        "vacation_roaming": rng.random(count) < np.where(student, 0.3, 0.08),
        "campus_call_share": np.rint(share * 10_000),
    }
