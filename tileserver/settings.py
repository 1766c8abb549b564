"""Settings of the server: options of the command line, or ORTHOSHARP_* in the environment."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tileserver.tiling.grid import BBox, Limits

RuntimeName = Literal["auto", "torch", "openvino"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]

_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")


class Settings(BaseSettings):
    """What `create_app` needs to know. Nothing is read from the environment until an instance is made."""

    model_config = SettingsConfigDict(env_prefix="ORTHOSHARP_", frozen=True, extra="forbid")

    source: str = Field(description="The old photograph: a GeoTIFF, better a COG.")
    new: str | None = Field(None, description="A later photograph of the same ground, to compare with.")
    weights: Path | None = Field(None, description="Weights of the network; the bundled ones if not given.")
    runtime: RuntimeName = "auto"
    device: DeviceName = "auto"
    bands: Annotated[tuple[int, ...], NoDecode] | None = Field(
        None, description="Bands that are red, green and blue, counted from 1: '4,1,2', or one for grey."
    )
    rescale: Annotated[tuple[float, float], NoDecode] | None = Field(
        None, description="Values that become black and white: '0,4095'. By default the range of the dtype."
    )
    contrast: float = Field(
        1.0, ge=0.5, le=2.0, description="Factor around middle grey for restored pixels; 1 changes nothing."
    )
    tone: Literal["model", "old"] = Field(
        "model", description="Whose colours restored pixels have: the network's, or the old photograph's."
    )
    new_bands: Annotated[tuple[int, ...], NoDecode] | None = Field(
        None, description="Bands of the later photograph, as `bands`."
    )
    new_rescale: Annotated[tuple[float, float], NoDecode] | None = Field(
        None, description="Values of the later photograph that become black and white, as `rescale`."
    )
    bounds: Annotated[BBox, NoDecode] | None = Field(
        None, description="Ground that is served, in degrees: 'WEST,SOUTH,EAST,NORTH'; all if not given."
    )
    zooms: Annotated[tuple[int, int], NoDecode] | None = Field(
        None, description="First and last zoom that are served, in Web Mercator's: '12,19'."
    )
    name: str | None = Field(None, description="Title of the page; the file's name if not given.")
    credit: str | None = Field(None, description="Whose photograph it is; by default what the file says.")
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)

    threads: int = Field(
        max(4, min(32, 2 * (os.cpu_count() or 2))), ge=1, description="Requests worked on at once."
    )
    max_requests: int = Field(512, ge=1, description="Requests that may wait; more get 503 at once.")
    queue_size: int = Field(
        64, ge=1, description="Metatiles that may wait for the network; more get 503 at once."
    )
    deadline_s: float = Field(60.0, gt=0, description="Longest time from a request to its answer; then 503.")
    batch: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Waiting metatiles that go through the network together; what the device takes if not given.",
    )
    cache_bytes: int = Field(
        512 * 2**20, ge=0, description="Memory for restored metatiles and encoded tiles."
    )
    store: str | None = Field(
        None,
        description="What keeps tiles over restarts: a folder, s3://, gs://, az://, or a seeded archive.",
    )
    store_bytes: int | None = Field(
        None, ge=2**20, description="Bound of a folder of tiles; the oldest make room."
    )
    store_timeout_s: float = Field(
        2.0, gt=0, description="Longest wait for the store before a tile is rendered."
    )
    overload: Literal["refuse", "old"] = Field(
        "refuse",
        description="What a restored tile becomes when the network has no time: 503, or the old picture.",
    )
    max_age_s: int = Field(
        600, ge=0, description="How long browsers keep a tile before they ask for its ETag."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        ("*",), description="Sites whose pages may read the pictures: 'https://map.example', or * for all."
    )
    max_pictures: int = Field(
        4, ge=1, description="Previews, bbox, point and feature pictures made at once; more get 503."
    )
    max_image_px: int = Field(2048, ge=256, le=8192, description="Longest side of a preview or bbox picture.")
    open_datasets: int = Field(
        8, ge=1, description="Files kept open at the same time, per photograph and overview."
    )

    @field_validator(
        "bands", "rescale", "new_bands", "new_rescale", "cors_origins", "bounds", "zooms", mode="before"
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Accept '4,1,2' from the command line and the environment."""
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin: give scheme and host without a path, such as "
                    "https://map.example, or * for all"
                )
        return value

    @property
    def limits(self) -> Limits:
        """Which tiles are served: bounds in degrees, zooms of Web Mercator."""
        return Limits(self.bounds, self.zooms)

    @field_validator("bands", "new_bands")
    @classmethod
    def _one_or_three(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (len(value) not in (1, 3) or min(value) < 1):
            raise ValueError(
                "give one band (grey) or three (red, green, blue), counted from 1, such as 4,1,2"
            )
        return value

    @field_validator("bounds")
    @classmethod
    def _on_earth(cls, value: BBox | None) -> BBox | None:
        if value is not None and not (
            -180 <= value[0] < value[2] <= 180 and -90 <= value[1] < value[3] <= 90
        ):
            raise ValueError("give WEST,SOUTH,EAST,NORTH in degrees, such as -73.55,42.38,-73.52,42.40")
        return value

    @field_validator("zooms")
    @classmethod
    def _first_and_last(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and not 0 <= value[0] <= value[1]:
            raise ValueError("give FIRST,LAST, such as 12,19")
        return value

    @field_validator("rescale", "new_rescale")
    @classmethod
    def _increasing(
        cls, value: tuple[float, float] | None, info: ValidationInfo
    ) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError(f"{info.field_name} needs MIN,MAX with MIN below MAX, such as 0,4095")
        return value
