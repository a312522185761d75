"""Home Assistant's core with its MQTT integration, led by JSON lines; run by the Python of its own environment.

Reads one command a line from standard input and answers each with one line. Knows nothing of voiced.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from homeassistant import auth, bootstrap, config_entries, core_config, loader
from homeassistant.components.automation.config import AUTOMATION_BLUEPRINT_SCHEMA
from homeassistant.components.blueprint.models import Blueprint
from homeassistant.components.blueprint.schemas import BLUEPRINT_SCHEMA
from homeassistant.components.device_automation import DeviceAutomationType, async_get_device_automations
from homeassistant.core import CoreState, Event, HomeAssistant
from homeassistant.helpers import device_registry, entity_registry
from homeassistant.setup import async_setup_component
from homeassistant.util.yaml import load_yaml


class Complaints(logging.Handler):
    """Keeps what Home Assistant warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        why = f" ({record.exc_info[1]!r})" if record.exc_info else ""
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}{why}")


async def born(folder: str, port: int) -> HomeAssistant:
    (Path(folder) / "configuration.yaml").touch()
    hass = HomeAssistant(folder)
    hass.config.skip_pip = True
    loader.async_setup(hass)
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth.auth_manager_from_config(hass, [], [])
    await core_config.async_process_ha_core_config(hass, {"name": "Test", "time_zone": "UTC"})
    for name in ("homeassistant", "persistent_notification"):
        assert await async_setup_component(hass, name, {}), name
    assert await async_setup_component(hass, "mqtt", {})
    if not hass.config_entries.async_entries("mqtt"):
        form = await hass.config_entries.flow.async_init("mqtt", context={"source": "user"})
        made = await hass.config_entries.flow.async_configure(form["flow_id"], {"broker": "127.0.0.1", "port": port})
        assert made["type"] == "create_entry", made
    await hass.async_start()
    return hass


class Resident:
    """Does what it is told."""

    def __init__(self, hass: HomeAssistant, complaints: Complaints) -> None:
        self.hass = hass
        self.complaints = complaints
        self.fired: list[str] = []
        self.seen: list[tuple[str, str]] = []
        hass.bus.async_listen("fired", self._note)
        hass.bus.async_listen("state_changed", self._see)

    def _note(self, event: Event) -> None:
        self.fired.append(event.data["name"])

    def _see(self, event: Event) -> None:
        new = event.data["new_state"]
        if new is not None:
            self.seen.append((new.entity_id, new.state))

    async def history(self) -> list[tuple[str, str]]:
        """Every state so far, with whose it was."""
        return self.seen

    async def states(self) -> dict[str, Any]:
        return {
            state.entity_id: {
                "state": state.state,
                "attributes": json.loads(json.dumps(dict(state.attributes), default=str)),
            }
            for state in self.hass.states.async_all()
        }

    async def entities(self) -> dict[str, Any]:
        registry = entity_registry.async_get(self.hass)
        return {
            entry.unique_id: {"id": entry.entity_id, "disabled": entry.disabled_by}
            for entry in registry.entities.values()
        }

    async def devices(self) -> list[str | None]:
        return [device.name for device in device_registry.async_get(self.hass).devices.values()]

    async def call(self, domain: str, service: str, data: dict[str, Any]) -> None:
        await self.hass.services.async_call(domain, service, data, blocking=True)

    async def enable(self, entity_id: str) -> None:
        entity_registry.async_get(self.hass).async_update_entity(entity_id, disabled_by=None)

    async def reload(self) -> None:
        (entry,) = self.hass.config_entries.async_entries("mqtt")
        await self.hass.config_entries.async_reload(entry.entry_id)

    async def triggers(self) -> list[dict[str, Any]]:
        devices = list(device_registry.async_get(self.hass).devices)
        found = await async_get_device_automations(self.hass, DeviceAutomationType.TRIGGER, devices)
        return [trigger for triggers in found.values() for trigger in triggers if trigger["domain"] == "mqtt"]

    async def automate(self, trigger: dict[str, Any], name: str) -> None:
        """Fire an event of this name at the trigger."""
        wanted = {
            "id": name,
            "alias": name,
            "triggers": [trigger],
            "actions": [{"event": "fired", "event_data": {"name": name}}],
        }
        assert await async_setup_component(self.hass, "automation", {"automation": [wanted]})

    async def said(self) -> list[str]:
        return self.fired

    async def blueprint(self, path: str) -> str:
        data = await asyncio.to_thread(load_yaml, path)
        domain = data["blueprint"]["domain"]
        schema = BLUEPRINT_SCHEMA if domain == "script" else AUTOMATION_BLUEPRINT_SCHEMA
        return str(Blueprint(data, path=path, expected_domain=domain, schema=schema).name)

    async def use(self, path: str, name: str, inputs: dict[str, Any]) -> None:
        """Set an automation or a script up that uses a blueprint."""
        data = await asyncio.to_thread(load_yaml, path)
        domain = data["blueprint"]["domain"]
        where = Path(self.hass.config.path(f"blueprints/{domain}/voiced")) / Path(path).name
        await asyncio.to_thread(where.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(where.write_bytes, await asyncio.to_thread(Path(path).read_bytes))
        wanted: dict[str, Any] = {
            "alias": name,
            "use_blueprint": {"path": f"voiced/{where.name}", "input": inputs},
        }
        config: Any = {name: wanted} if domain == "script" else [{"id": name, **wanted}]
        assert await async_setup_component(self.hass, domain, {domain: config})

    async def complained(self) -> list[str]:
        return self.complaints.lines


async def main(folder: str, port: int) -> None:
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    hass = await born(folder, port)
    resident = Resident(hass, complaints)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(
        json.dumps({"ok": True, "answer": "running" if hass.state is CoreState.running else str(hass.state)}),
        flush=True,
    )
    while line := await lines.readline():
        asked = json.loads(line)
        try:
            answer = await getattr(resident, asked.pop("do"))(**asked)
        except Exception as exc:  # noqa: BLE001 - told to who asked
            print(json.dumps({"ok": False, "answer": f"{type(exc).__name__}: {exc}"}), flush=True)
        else:
            print(json.dumps({"ok": True, "answer": answer}, default=str), flush=True)
    await hass.async_stop()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
