"""Makes the portal's own copy of the region: names in two languages, and league outlines for the map.

Run by hand when the region's data change: `python gateway/portal/region.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pypinyin import lazy_pinyin
from shapely.geometry import MultiPolygon, Polygon
from shapely.ops import unary_union

_ROOT = Path(__file__).resolve().parents[2]
_OUT = Path(__file__).parent / "src" / "region"
# Degrees: about 3 km, enough for a map of 2,400 km on half a screen.
_TOLERANCE = 0.03
_KINDS = (
    ("自治旗", "Autonomous Banner"),
    ("矿区", "Mining District"),
    ("区", "District"),
    ("旗", "Banner"),
    ("县", "County"),
    ("市", "City"),
)


def english(name: str) -> str:
    """新城区 -> Xincheng District; names of places by pinyin, the kind of place translated."""
    for suffix, kind in _KINDS:
        if name.endswith(suffix) and len(name) > len(suffix):
            return f"{''.join(lazy_pinyin(name.removesuffix(suffix))).capitalize()} {kind}"
    return "".join(lazy_pinyin(name)).capitalize()


def outline(counties: list[dict[str, Any]]) -> dict[str, Any]:
    """One outline of a league from those of its counties."""
    parts = [Polygon(rings[0], rings[1:]) for county in counties for rings in county["polygons"]]
    whole = unary_union([part.buffer(0.002) for part in parts]).simplify(_TOLERANCE)
    polygons = list(whole.geoms) if isinstance(whole, MultiPolygon) else [whole]
    rings = [p.exterior.coords for p in polygons if isinstance(p, Polygon) and p.area > 0.005]
    return {
        "type": "MultiPolygon",
        "coordinates": [[[[round(x, 2), round(y, 2)] for x, y in ring]] for ring in rings],
    }


def main() -> None:
    """Writes names.json and leagues.json."""
    region = json.loads((_ROOT / "demo" / "data" / "region.json").read_text())
    names = {p["adcode"]: [p["name"], p["name_en"]] for p in [region["province"], *region["leagues"]]}
    names |= {county["adcode"]: [county["name"], english(county["name"])] for county in region["counties"]}
    lines = [f'"{code}": {json.dumps(pair, ensure_ascii=False)}' for code, pair in sorted(names.items())]
    (_OUT / "names.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    features = []
    for league in region["leagues"]:
        counties = [c for c in region["counties"] if c["parent"] == league["adcode"]]
        features.append(
            {
                "type": "Feature",
                "properties": {"name": str(league["adcode"]), "adcode": league["adcode"]},
                "geometry": outline(counties),
            }
        )
    text = json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":"))
    (_OUT / "leagues.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
