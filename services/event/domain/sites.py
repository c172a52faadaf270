"""Sites by the name planners use, and the hosts that probes see (EVT-18)."""

from __future__ import annotations

# A host stands for itself and everything below it.
SITES: dict[str, tuple[str, ...]] = {
    "联通官网": ("10010.com", "chinaunicom.com", "chinaunicom.com.cn"),
    "电信官网": ("189.cn", "chinatelecom.com.cn", "ct10000.com"),
    "广电官网": ("10099.com.cn", "cbn.cn"),
    "移动官网": ("10086.cn", "chinamobile.com", "chinamobileltd.com"),
}


def hosts_of(site: str) -> tuple[str, ...] | None:
    """The hosts of a site of the catalogue; None when it is not in it."""
    return SITES.get(site.strip())
