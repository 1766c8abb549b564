"""The mark of AI in pictures: an XMP packet that says how they were made, spliced into encoded files.

Headers are lost when somebody saves a picture; this is not. Nothing is encoded again: a packet is put between the
parts of a file, which takes microseconds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from xml.sax.saxutils import quoteattr

from tileserver.tiling.extension import Extension

# "Edited using Generative AI": the network redraws a photograph, and invents what that does not resolve.
SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_IPTC: Final = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PNG_KEYWORD: Final = b"XML:com.adobe.xmp\0\0\0\0\0"
_JPEG_NAMESPACE: Final = b"http://ns.adobe.com/xap/1.0/\0"
# Signature and the chunk IHDR, which comes first.
_PNG_HEAD_BYTES: Final = 33
_WEBP_XMP_FLAG: Final = 0x04
_WEBP_ALPHA_FLAG: Final = 0x10


@lru_cache(64)
def ai_packet(model: str, digest: str) -> bytes:
    """Return the XMP packet of pictures that a network has restored (IPTC Photo Metadata Standard 2025.1).

    Args:
        model: name of the network.
        digest: of its weights.
    """
    version = quoteattr(f"{model} {digest[:12]}")
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
        f'<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{_IPTC}" Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}" '
        f'Iptc4xmpExt:AISystemUsed="orthosharp" Iptc4xmpExt:AISystemVersionUsed={version}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def with_xmp(body: bytes, extension: Extension, packet: bytes) -> bytes:
    """Return an encoded picture with an XMP packet; the pixels and their bytes stay the same.

    Args:
        body: as `encode` makes it, without XMP.
        extension: its format.
        packet: the packet; the picture is returned as it is if this or `body` is empty.
    """
    return _WRITERS[extension](body, packet) if body and packet else body


def tiff_tags(packet: bytes) -> dict[str, str]:
    """Return a packet as rasterio's tags of the domain xml:XMP, whose text GDAL writes as it is.

    rasterio puts the text together from a name, "=" and a value. Without a packet there are none.
    """
    name, _, rest = packet.decode().partition("=")
    return {name: rest} if packet else {}


def _with_png_chunk(body: bytes, packet: bytes) -> bytes:
    return body[:_PNG_HEAD_BYTES] + _png_chunk(packet) + body[_PNG_HEAD_BYTES:]


@lru_cache(64)
def _png_chunk(packet: bytes) -> bytes:
    """Return a chunk iTXt, uncompressed as XMP has to be (XMP part 3, 1.1.5)."""
    content = b"iTXt" + _PNG_KEYWORD + packet
    return (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")


def _with_jpeg_segment(body: bytes, packet: bytes) -> bytes:
    """Put a segment APP1 behind APP0, which JFIF wants to be the first (XMP part 3, 1.1.3)."""
    start = 4 + int.from_bytes(body[4:6], "big") if body[2:4] == b"\xff\xe0" else 2
    content = _JPEG_NAMESPACE + packet
    return body[:start] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + body[start:]


def _with_webp_chunk(body: bytes, packet: bytes) -> bytes:
    """Append a chunk "XMP ", and see to the chunk VP8X that announces it (RFC 9649, section 2.7)."""
    kind, chunks = body[12:16], body[12:]
    if kind == b"VP8X":
        chunks = chunks[:8] + bytes([chunks[8] | _WEBP_XMP_FLAG]) + chunks[9:]
    else:
        width, height, has_alpha = _webp_size(chunks)
        flags = _WEBP_XMP_FLAG | (_WEBP_ALPHA_FLAG if has_alpha else 0)
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks = b"VP8X" + (10).to_bytes(4, "little") + bytes([flags, 0, 0, 0]) + size + chunks
    chunk = b"XMP " + len(packet).to_bytes(4, "little") + packet + b"\0" * (len(packet) % 2)
    return b"RIFF" + (4 + len(chunks) + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunks + chunk


def _webp_size(chunk: bytes) -> tuple[int, int, bool]:
    """Return width, height and whether there is alpha, of a bitstream of VP8 (RFC 6386, 9.1) or VP8L (RFC 9649)."""
    if chunk[:4] == b"VP8L":
        bits = int.from_bytes(chunk[9:13], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    width, height = (int.from_bytes(chunk[at : at + 2], "little") & 0x3FFF for at in (14, 16))
    return width, height, False


_WRITERS: Final[dict[Extension, Callable[[bytes, bytes], bytes]]] = {
    "png": _with_png_chunk,
    "jpg": _with_jpeg_segment,
    "webp": _with_webp_chunk,
}
