"""In a namespace with Services that are called as we are, commands run all the same."""

from __future__ import annotations

import pytest

from lakehouse.errors import SettingError
from lakehouse.service_links import drop_service_links
from lakehouse.settings import PREFIX, Settings, load_settings


def links(service: str, port: int = 8050, kind: str = "tcp", named: str = "HTTP") -> dict[str, str]:
    """What the kubelet sets for a Service with one port that has a name."""
    name, address = service.upper().replace("-", "_"), "10.96.14.3"
    of_port = f"{name}_PORT_{port}_{kind.upper()}"
    return {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": str(port),
        f"{name}_SERVICE_PORT_{named}": str(port),
        f"{name}_PORT": f"{kind}://{address}:{port}",
        of_port: f"{kind}://{address}:{port}",
        f"{of_port}_PROTO": kind,
        f"{of_port}_PORT": str(port),
        f"{of_port}_ADDR": address,
    }


@pytest.mark.parametrize(
    "service", ["lakehouse", "lakehouse-live", "lakehouse-kafka-2", "lakehouse-port", "lakehouse-home"]
)
@pytest.mark.parametrize("kind", ["tcp", "udp", "sctp"])
def test_services_of_our_name_are_no_settings(service: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in links(service, kind=kind).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == Settings()


def test_what_a_person_sets_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}LIVE_PORT", "8050")
    assert load_settings().live_port == 8050
    monkeypatch.setenv(f"{PREFIX}LIVE_PROT", "8050")
    with pytest.raises(SettingError, match="nearest is LAKEHOUSE_LIVE_PORT"):
        load_settings()


def test_no_setting_looks_like_a_link() -> None:
    ours = {PREFIX + name.upper(): "1" for name in Settings.model_fields}
    left = dict(ours)
    drop_service_links(left, PREFIX)
    assert left == ours
