"""`harkara simulate`: the simulator by itself, as somebody uses it who develops against Meta."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import httpx
import pytest

from harkara.devstack.ports import free_ports
from tests.support.wait import eventually

WORLD = """
wabas:
  - id: "200000000000001"
    name: Example
    portfolio: "300000000000001"
    token: EAATEST-of-the-world
    numbers:
      - {phone_number_id: "100000000000077", display_phone_number: "+91 99999 00077"}
    templates:
      - {name: hello, language: en, body: "Hello {{1}}."}
"""


@pytest.mark.req("DX-1", "B19")
async def test_a_world_of_ones_own_is_served_until_it_is_told_to_end(tmp_path: Path) -> None:
    world, [port] = tmp_path / "world.yaml", free_ports(1)
    world.write_text(WORLD)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("harkara")), "simulate", "--port", str(port), "--world", str(world),
        "--seed", "7", env=os.environ | {"HARKARA_LOG_LEVEL": "WARNING"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            await eventually(lambda: _ready(http))
            token = {"Authorization": "Bearer EAATEST-of-the-world"}
            shown = (await http.get("/v26.0/100000000000077?fields=display_phone_number", headers=token)).json()
            assert "".join(filter(str.isdigit, shown["display_phone_number"])) == "919999900077"
            assert (await http.get("/_simulator/openapi.json")).status_code == 200
        process.terminate()
        said, _ = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0
        assert f"http://127.0.0.1:{port}/v26.0/".encode() in said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False
