"""Settings of the server, each declared once: flags, environment, orthosharp.toml and docs are generated from here."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from sr_model.machine import usable_cores, usable_memory_bytes
from tileserver.setting_types import (
    Ancestors,
    Bands,
    Bounds,
    Geocoder,
    Halo,
    Nodata,
    Origins,
    OutsideRules,
    Rescale,
    RootPath,
    Zooms,
    one_or_more,
)
from tileserver.tiling.grid import Limits

logger = logging.getLogger("orthosharp")

RuntimeName = Literal["auto", "torch", "openvino", "openvino-int8"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Command = Literal["serve", "seed", "restore", "info", "cache clean"]
Section = Literal["Photograph", "Network", "Picture", "Cache", "Limits under load", "Server"]

SERVE: Final[frozenset[Command]] = frozenset({"serve"})
# The later photograph is shown, never restored.
SHOWN: Final[frozenset[Command]] = SERVE | {"cache clean"}
# The commands that open the network.
RESTORING: Final[frozenset[Command]] = SERVE | {"seed", "restore"}
PIXELS: Final[frozenset[Command]] = SHOWN | RESTORING
EVERY: Final[frozenset[Command]] = PIXELS | {"info"}

# Values of the deprecated setting `tone`.
_COLOURS_OF_TONE: Final = {"model": "corrected", "old": "photo"}


@dataclass(frozen=True)
class Option:
    """Presentation of a setting to users, beyond its name, type, default, constraints and description.

    Attributes:
        section: heading in help texts and in docs/settings.md.
        commands: commands of `orthosharp` that have a flag for it.
        per_map: it stands below [maps.NAME] in orthosharp.toml; otherwise above the tables, for all maps.
        metavar: placeholder for the value.
        default_text: the default in words, where the value does not tell.
        positional: the commands take it as an argument, not as a flag.
    """

    section: Section
    commands: frozenset[Command] = SERVE
    per_map: bool = False
    metavar: str | None = None
    default_text: str | None = None
    positional: bool = False


_photograph = partial(Option, "Photograph", per_map=True)
_network = partial(Option, "Network")
_picture = partial(Option, "Picture", per_map=True)
_cache = partial(Option, "Cache")
_limit = partial(Option, "Limits under load")
_server = partial(Option, "Server")
_FIRST_BANDS: Final = "the first three, or the first"
_RANGE: Final = "0-255 or by its bits, else auto"


_CACHE_BYTES: Final = 512 * 2**20
_CACHE_TEXT: Final = f"{_CACHE_BYTES}, at most a quarter of the memory"


def _threads() -> int:
    return max(4, min(32, 2 * usable_cores()))


def _cache_bytes() -> int:
    """The usual size, or a quarter of a small container's memory: the network takes the rest."""
    return min(_CACHE_BYTES, (usable_memory_bytes() or 4 * _CACHE_BYTES) // 4)


class Settings(BaseSettings):
    """Everything `create_app` needs; the environment is read when an instance is made.

    A field is the whole declaration of a setting (see CONTRIBUTING.md, "Add an option").

    Raises:
        pydantic.ValidationError: a value is missing or out of range.
    """

    model_config = SettingsConfigDict(
        env_prefix="ORTHOSHARP_", enable_decoding=False, frozen=True, extra="forbid"
    )

    source: Annotated[
        str | tuple[str, ...],
        BeforeValidator(one_or_more),
        _photograph(EVERY, metavar="FILE", positional=True),
    ] = Field(
        description="Old photograph to restore: a GeoTIFF, preferably a Cloud Optimized GeoTIFF (COG); its sheets, as "
        "a folder, several files or an index; a STAC item, as item.json#asset; or a service, as WMTS:URL,layer=NAME, "
        "WMS:URL,layer=NAME or https://.../{z}/{x}/{y}.png."
    )
    new: Annotated[str | None, _photograph(SHOWN, metavar="FILE")] = Field(
        None, description="Later photograph of the same ground, to compare with; named as the old one."
    )
    crs: Annotated[str | None, _photograph(EVERY, metavar="EPSG:CODE", default_text="as the file says")] = (
        Field(None, description="CRS of the photograph, where its file names none or a wrong one.")
    )
    new_crs: Annotated[
        str | None, _photograph(SHOWN, metavar="EPSG:CODE", default_text="as the file says")
    ] = Field(None, description="CRS of the later photograph.")
    source_pixel_size: Annotated[
        float | None, _photograph(EVERY, metavar="METRES", default_text="estimated from samples")
    ] = Field(
        None, gt=0, description="Pixel size on the ground of a photograph behind a service (WMTS, WMS, XYZ)."
    )
    new_source_pixel_size: Annotated[
        float | None, _photograph(SHOWN, metavar="METRES", default_text="estimated from samples")
    ] = Field(None, gt=0, description="The same of the later photograph.")
    source_bounds: Annotated[
        Bounds | None, _photograph(EVERY, metavar="W,S,E,N", default_text="all of it")
    ] = Field(
        None,
        description="Ground in degrees that is taken of a photograph behind a service; XYZ templates need it.",
    )
    gcp_transform: Annotated[Literal["polynomial", "tps"], _photograph(EVERY)] = Field(
        "polynomial",
        description="How ground control points are interpolated: by one polynomial, or by a thin plate spline through "
        "all of them.",
    )
    missing: Annotated[Literal["refuse", "skip"], _photograph(EVERY)] = Field(
        "refuse", description="Absent or damaged sheets of a mosaic: refuse to start, or leave gaps."
    )
    inaccurate: Annotated[Literal["warn", "refuse"], _photograph(EVERY)] = Field(
        "warn",
        description="A photograph whose place on the ground is known to no better than two of its pixels: warn of it, "
        "or refuse it.",
    )
    bands: Annotated[Bands | None, _photograph(EVERY, metavar="R,G,B", default_text=_FIRST_BANDS)] = Field(
        None, description="Bands for red, green and blue, counted from 1, or a single band for grey."
    )
    rescale: Annotated[Rescale | None, _photograph(EVERY, metavar="MIN,MAX", default_text=_RANGE)] = Field(
        None, description="Values that map to black and to white; auto finds them in the photograph."
    )
    nodata: Annotated[Nodata, _photograph(EVERY, metavar="VALUE[,TOLERANCE]")] = Field(
        "auto",
        description="Value without a picture, anywhere; with a tolerance, only from the edge inwards. auto finds black "
        "and white borders; none shows everything.",
    )
    footprint: Annotated[Path | None, _photograph(EVERY, metavar="FILE", default_text="all of it")] = Field(
        None, description="GeoJSON file with the ground that has a picture; the rest is masked."
    )
    exclude: Annotated[Path | None, _photograph(EVERY, metavar="FILE")] = Field(
        None, description="GeoJSON file with ground that must not be shown, in any layer."
    )
    new_bands: Annotated[Bands | None, _photograph(SHOWN, metavar="R,G,B", default_text=_FIRST_BANDS)] = (
        Field(None, description="Bands of the later photograph.")
    )
    new_rescale: Annotated[Rescale | None, _photograph(SHOWN, metavar="MIN,MAX", default_text=_RANGE)] = (
        Field(None, description="Values of the later photograph that map to black and to white, or auto.")
    )
    new_nodata: Annotated[Nodata, _photograph(SHOWN, metavar="VALUE[,TOLERANCE]")] = Field(
        "auto", description="As nodata, of the later photograph."
    )
    bounds: Annotated[Bounds | None, _photograph(metavar="W,S,E,N", default_text="all of it")] = Field(
        None, description="Part of the photograph that is served, in degrees."
    )
    zooms: Annotated[Zooms | None, _photograph(metavar="FIRST,LAST", default_text="all")] = Field(
        None, description="First and last zoom that are served, counted as in Web Mercator."
    )
    outside: Annotated[OutsideRules, _photograph(metavar="404|204|transparent")] = Field(
        ("transparent",),
        description="Answer to a tile beside the photograph: an error, nothing, or a transparent tile; by layer as "
        "old=404,restored=204.",
    )
    name: Annotated[
        str | None, _photograph(SERVE | {"seed"}, metavar="TEXT", default_text="the file's name")
    ] = Field(None, description="Title of the map.")
    year: Annotated[int | None, _photograph(metavar="YEAR", default_text="from the name or the tags")] = (
        Field(
            None, ge=1800, le=2999, description="Year of the photograph, which stands on the page's labels."
        )
    )
    new_year: Annotated[int | None, _photograph(metavar="YEAR", default_text="from the name or the tags")] = (
        Field(None, ge=1800, le=2999, description="Year of the later photograph.")
    )
    credit: Annotated[
        str | None,
        _photograph(SERVE | {"seed", "restore"}, metavar="TEXT", default_text="from the file's tags"),
    ] = Field(None, description="Credit line of the photograph.")

    weights: Annotated[
        Path | None, _network(EVERY, per_map=True, metavar="FILE", default_text="the bundled network")
    ] = Field(
        None,
        description="Weights file, as written by orthosharp-train export; or small, for a bundled network that takes "
        "half of the time and is softer.",
    )
    runtime: Annotated[RuntimeName, _network(RESTORING | {"info"})] = Field(
        "auto",
        description="Inference runtime; auto chooses a GPU if there is one, else OpenVINO, which computes the bundled "
        "networks in integers of 8 bits (openvino-int8) where the processor multiplies them faster than float32 and "
        "has no bfloat16.",
    )
    device: Annotated[DeviceName, _network(RESTORING | {"info"})] = Field(
        "auto", description="Device that runs the network; a missing one is an error, not a slower server."
    )
    batch: Annotated[int | None, _network(metavar="N", default_text="by device")] = Field(
        None, ge=1, le=64, description="Metatiles that go through the network together."
    )

    colours: Annotated[Literal["corrected", "photo"], _picture(EVERY)] = Field(
        "corrected",
        description="Colours of restored pixels: corrected for haze and fading, or those of the photograph itself.",
    )
    colour_strength: Annotated[float, _picture(EVERY, metavar="SHARE")] = Field(
        1.0, ge=0, le=1, description="Share of that correction which is applied; 0 applies nothing."
    )
    resolution: Annotated[
        float | None, _picture(EVERY, metavar="METRES", default_text="estimated from edges")
    ] = Field(None, gt=0, description="Finest detail on the ground that the photograph resolves.")
    pixel_size: Annotated[
        float | None, _picture(EVERY, metavar="METRES", default_text="half the resolution")
    ] = Field(None, gt=0, description="Pixel size on the ground that the network restores at.")
    native_zoom: Annotated[int | None, _picture(EVERY, metavar="ZOOM", default_text="by resolution")] = Field(
        None,
        ge=0,
        le=24,
        description="Zoom in Web Mercator that the network restores at, instead of a pixel size.",
    )
    halo: Annotated[Halo, _picture(EVERY, metavar="AMOUNT,RADIUS")] = Field(
        "off",
        description="Unsharp mask of the photograph to undo first, or off; auto undoes half of what its edges show.",
    )
    tone: Annotated[Literal["model", "old"] | None, _picture(EVERY)] = Field(
        None, description="Deprecated name of colours: model is corrected, old is photo."
    )
    ai_mark: Annotated[bool, _picture(PIXELS)] = Field(
        True,
        description="Write into every restored picture that a network made it (XMP: IPTC digital source type).",
    )
    contrast: Annotated[
        float | None, _picture(EVERY, metavar="FACTOR", default_text="1.2 with corrected colours, else 1")
    ] = Field(
        None, ge=0.5, le=2.0, description="Contrast of restored pixels around mid-grey; 1 changes nothing."
    )

    cache_bytes: Annotated[int, _cache(metavar="N", default_text=_CACHE_TEXT)] = Field(
        default_factory=_cache_bytes, ge=0, description="Memory for restored metatiles and encoded tiles."
    )
    store: Annotated[str | None, _cache(metavar="STORE")] = Field(
        None,
        description="Store that keeps tiles across restarts: a folder, s3://, gs://, az://, "
        "or an archive made by orthosharp seed (read-only).",
    )
    store_bytes: Annotated[int | None, _cache(metavar="N", default_text="unlimited")] = Field(
        None, ge=2**20, description="Size limit of a folder; its least recently used tiles are deleted."
    )
    store_timeout_s: Annotated[float, _cache(metavar="SECONDS")] = Field(
        2.0, gt=0, description="Longest wait for the store before a tile is rendered instead."
    )

    threads: Annotated[int, _limit(metavar="N", default_text="by the number of cores")] = Field(
        default_factory=_threads, ge=1, description="Requests rendered at the same time."
    )
    max_requests: Annotated[int, _limit(metavar="N")] = Field(
        512, ge=1, description="Requests inside the server at the same time; further ones get 503."
    )
    queue_size: Annotated[int, _limit(metavar="N")] = Field(
        64,
        ge=1,
        description="Metatiles waiting for the network, and tiles waiting for a thread; further ones get 503.",
    )
    max_wait_s: Annotated[float, _limit(metavar="SECONDS")] = Field(
        10.0,
        gt=0,
        description="Longest time that a new tile may expect to wait, as measured from those before; "
        "what there is no time for gets 503, or the old photograph.",
    )
    deadline_s: Annotated[float, _limit(metavar="SECONDS")] = Field(
        60.0, gt=0, description="Longest time from a tile's request to its answer; then 503."
    )
    overload: Annotated[Literal["refuse", "old"], _limit()] = Field(
        "refuse",
        description="Answer to a restored tile that there is no time for: 503, or the old photograph.",
    )
    max_pictures: Annotated[int, _limit(metavar="N")] = Field(
        4,
        ge=1,
        description="Previews, bbox, point, feature, map and WMS requests at the same time; further ones wait for "
        "half of the deadline at most.",
    )
    max_image_px: Annotated[int, _limit(metavar="PX")] = Field(
        2048, ge=256, le=8192, description="Longest side of a preview, bbox or WMS image."
    )
    open_datasets: Annotated[int, _limit(metavar="N")] = Field(
        8, ge=1, description="Files kept open at the same time, per photograph and overview."
    )

    host: Annotated[str, _server(metavar="ADDRESS")] = Field(
        "127.0.0.1", description="Address to listen on; 0.0.0.0 lets other machines in."
    )
    port: Annotated[int, _server(metavar="PORT")] = Field(
        8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one."
    )
    workers: Annotated[int, _server(metavar="N")] = Field(
        1,
        ge=1,
        le=64,
        description="Processes that answer at the same port; they share tiles through the store.",
    )
    log_format: Annotated[Literal["text", "json"], _server()] = Field(
        "text", description="Log as lines for people, or as one JSON object per line."
    )
    telemetry: Annotated[bool, _server()] = Field(
        False,
        description="Trace requests of layers with OpenTelemetry, as OTEL_ variables say; needs the extra telemetry.",
    )
    root_path: Annotated[RootPath, _server(metavar="/PATH", default_text="none")] = Field(
        "",
        description="Path below which a proxy shows the server, such as /maps; the proxy may remove it or leave it. "
        "X-Forwarded-Prefix from a trusted proxy has precedence.",
    )
    max_age_s: Annotated[int, _server(metavar="SECONDS")] = Field(
        600, ge=0, description="How long browsers keep a tile before they check whether it changed."
    )
    cors_origins: Annotated[Origins, _server(metavar="ORIGIN,...")] = Field(
        ("*",),
        description="Origins whose pages may read the tiles, such as https://map.example, or * for all.",
    )
    frame_ancestors: Annotated[Ancestors, _server(metavar="ORIGIN,...")] = Field(
        ("*",),
        description="Origins whose pages may show the map in a frame, such as https://town.example; * for all, self "
        "or none.",
    )
    geocoder: Annotated[Geocoder | None, _server(metavar="URL", default_text="none: coordinates only")] = (
        Field(
            None,
            description="Address that the page's search for places asks, with {query} in it, such as that of your own "
            "Nominatim or Photon; visitors' browsers ask it directly.",
        )
    )

    @model_validator(mode="before")
    @classmethod
    def _rename_tone(cls, values: Any) -> Any:
        """Accept the old name of `colours`, with a warning."""
        if not isinstance(values, dict) or values.get("tone") not in _COLOURS_OF_TONE:
            return values
        colours = _COLOURS_OF_TONE[values["tone"]]
        logger.warning("tone is deprecated: set colours to %s instead of tone to %s", colours, values["tone"])
        return {"colours": colours, **values}

    @field_validator("native_zoom")
    @classmethod
    def _check_native_zoom(cls, zoom: int | None, info: ValidationInfo) -> int | None:
        if zoom is not None and info.data.get("pixel_size") is not None:
            raise ValueError(
                "a pixel size is given too, and they are mutually exclusive: leave one of them out"
            )
        return zoom

    def outside_of(self, layer: str) -> str:
        """Return the answer to a layer's tile beside the photograph: 404, 204 or transparent."""
        found = "transparent"
        for rule in self.outside:
            name, _, answer = rule.rpartition("=")
            if name in ("", layer):
                found = answer
        return found

    @property
    def limits(self) -> Limits:
        """The tiles that are served: bounds in degrees, zooms of Web Mercator."""
        return Limits(self.bounds, self.zooms)


def _option_of(name: str, field: FieldInfo) -> Option:
    for marker in field.metadata:
        if isinstance(marker, Option):
            return marker
    raise TypeError(f"Settings.{name} has no Option: annotate it as CONTRIBUTING.md describes")


# How each setting is presented, in the order of declaration.
OPTIONS: Final = {name: _option_of(name, field) for name, field in Settings.model_fields.items()}
