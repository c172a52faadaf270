"""The real region: counties, segments, schools, and what is placed in it."""

import phonenumbers
import pytest
import shapely
from phonenumbers import geocoder

from demo import places, region, stations
from demo.campuses import campuses, schools


def test_twelve_leagues_and_their_counties():
    """Every county has its league, and borders neither overlap nor gape."""
    land = region.load()
    assert len(land.leagues) == 12
    assert len(land.counties) == 103
    assert sum(len(land.counties_of(league.adcode)) for league in land.leagues) == 103
    assert shapely.coverage_is_valid([county.polygon for county in land.counties])
    assert all(county.polygon.contains(shapely.Point(county.seat)) for county in land.counties)


@pytest.mark.parametrize(
    ("point", "county"),
    [((111.688, 40.813), 150105), ((106.89, 39.44), 150303), ((109.81, 40.65), 150203), ((116.4, 39.9), 0)],
)
def test_a_point_finds_its_county(point, county):
    """A place in Hohhot, Wuhai and Baotou, and Beijing outside the region."""
    assert region.load().locate(*point) == county


def test_segments_agree_with_an_independent_table():
    """The hotlines of the Wuhai case resolve to Wuhai here and in phonenumbers (CMP-43)."""
    hotlines = [18847363500, 13847328082]
    assert region.segments().city_of(hotlines).tolist() == [150300, 150300]
    for number in hotlines:
        assert geocoder.description_for_number(phonenumbers.parse(str(number), "CN"), "en").startswith(
            "Wuhai"
        )
    assert [len(region.segments(name).prefixes) for name in ("mobile", "unicom", "telecom")] == [
        4709,
        3488,
        1735,
    ]
    assert region.segments().city_of([13800000000]).tolist() == [0]


def test_schools_and_their_campuses():
    """53 schools, each with a campus inside a county of its city."""
    assert len(schools()) == 53
    assert sum(school.level == "本科" for school in schools()) == 17
    assert {campus.school.code for campus in campuses()} == {school.code for school in schools()}
    land = region.load()
    for campus in campuses():
        assert campus.county // 100 * 100 == campus.school.city
        assert land.county(campus.county).polygon.contains(campus.outline)


def test_stations_stand_inside_their_county():
    """Cells are unique, located in the county that they name, and dense where people live (EVT-28)."""
    net, land = stations.network(), region.load()
    assert 6_000 <= len(net.names) <= 8_500
    assert (land.locate_many(net.station_lon, net.station_lat) == net.station_county).all()
    assert len(set(net.tac_cell.tolist())) == net.cells == 3 * len(net.names)
    assert len(set(net.names)) == len(net.names)
    assert net.tac.max() < 1 << 16
    assert net.cell_id.max() < 1 << 28
    per_km2 = {
        county.adcode: (net.station_county == county.adcode).sum() / county.area_km2
        for county in land.counties
    }
    assert per_km2[150105] > 20 * per_km2[152923]


def test_every_outline_has_stations_and_overlaps_no_other():
    """Campuses, stores, hospitals, stations, the village hold cells of their own (EVT-35, EVT-36, EVT-37)."""
    net = stations.network()
    assert all(len(cells) >= 12 for cells in net.cells_of_campus)
    assert all(len(cells) >= 6 for cells in net.cells_of_place)
    (village,) = places.of_kind(places.VILLAGE)
    assert village.county == 150303 and village.name == "头道坎村平房区"
    assert len(places.of_kind(places.STORE, city=150100)) >= 12
    outlines = [campus.outline for campus in campuses()] + [place.outline for place in places.places()]
    left, right = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    assert (left == right).all()
    for place, cells in zip(places.places(), net.cells_of_place, strict=True):
        assert all(place.outline.covers(shapely.Point(net.lon[cell], net.lat[cell])) for cell in cells)
