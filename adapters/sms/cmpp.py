"""CMPP 3.0: the messages between an SP and China Mobile's SMS gateway.

Big-endian; a header of 12 bytes (total length, command, sequence) and a body
of fixed fields (DOMAIN 3.2). Both ends use this codec.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

VERSION = 0x30
HEADER = struct.Struct(">III")
MOST = 64 * 1024  # no message of the protocol is longer

CONNECT = 0x00000001
CONNECT_RESP = 0x80000001
TERMINATE = 0x00000002
TERMINATE_RESP = 0x80000002
SUBMIT = 0x00000004
SUBMIT_RESP = 0x80000004
DELIVER = 0x00000005
DELIVER_RESP = 0x80000005
ACTIVE_TEST = 0x00000008
ACTIVE_TEST_RESP = 0x80000008

UCS2 = 8
_CONNECT = struct.Struct(">6s16sBI")
_CONNECT_RESP = struct.Struct(">I16sB")
_SUBMIT = struct.Struct(">QBBBB10sB32sBBBB6s2s6s17s17s21sB")
_DELIVER = struct.Struct(">Q21s10sBBB32sBBB")
_REPORT = struct.Struct(">Q7s10s10s32sI")


class ProtocolError(Exception):
    """Bytes that are no CMPP message."""


def authenticator(source: str, secret: str, timestamp: int) -> bytes:
    """MD5 of source address, nine zero bytes, shared secret and MMDDHHMMSS."""
    text = source.encode() + b"\0" * 9 + secret.encode() + f"{timestamp:010d}".encode()
    return hashlib.md5(text, usedforsecurity=False).digest()


def pack(command: int, sequence: int, body: bytes = b"") -> bytes:
    """A whole message."""
    return HEADER.pack(HEADER.size + len(body), command, sequence) + body


def _text(value: str, size: int) -> bytes:
    data = value.encode("ascii")
    if len(data) > size:
        raise ProtocolError(f"{value!r} is longer than {size} octets")
    return data


def _read(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("ascii", "replace").strip()


@dataclass(frozen=True)
class Connect:
    """CMPP_CONNECT."""

    source: str
    authenticator: bytes
    timestamp: int
    version: int = VERSION

    def encode(self) -> bytes:
        return _CONNECT.pack(_text(self.source, 6), self.authenticator, self.version, self.timestamp)

    @classmethod
    def decode(cls, body: bytes) -> Connect:
        source, digest, version, timestamp = _CONNECT.unpack(body)
        return cls(_read(source), digest, timestamp, version)


@dataclass(frozen=True)
class ConnectResp:
    """CMPP_CONNECT_RESP; status 0 is success, 3 a wrong authenticator."""

    status: int
    authenticator: bytes = b"\0" * 16
    version: int = VERSION

    def encode(self) -> bytes:
        return _CONNECT_RESP.pack(self.status, self.authenticator, self.version)

    @classmethod
    def decode(cls, body: bytes) -> ConnectResp:
        status, digest, version = _CONNECT_RESP.unpack(body)
        return cls(status, digest, version)


@dataclass(frozen=True)
class Submit:
    """CMPP_SUBMIT of one part to one number; `content` includes the header of a long message."""

    source: str  # SP id, Msg_src
    service_id: str
    sender: str  # Src_Id
    phone: str
    content: bytes
    part: int = 1
    parts: int = 1
    udhi: int = 0
    format: int = UCS2
    report: int = 1
    message_id: int = 0
    valid_time: str = ""

    def encode(self) -> bytes:
        if len(self.content) > 140:
            raise ProtocolError(f"a part holds at most 140 octets, not {len(self.content)}")
        head = _SUBMIT.pack(
            self.message_id,
            self.parts,
            self.part,
            self.report,
            1,
            _text(self.service_id, 10),
            2,  # the SP pays
            b"",
            0,
            0,
            self.udhi,
            self.format,
            _text(self.source, 6),
            b"01",
            b"000000",
            _text(self.valid_time, 17),
            b"",
            _text(self.sender, 21),
            1,
        )
        tail = struct.pack(
            f">32sBB{len(self.content)}s20s", _text(self.phone, 32), 0, len(self.content), self.content, b""
        )
        return head + tail

    @classmethod
    def decode(cls, body: bytes) -> Submit:
        f = _SUBMIT.unpack_from(body)
        count = f[18]
        offset = _SUBMIT.size
        phone = _read(body[offset : offset + 32])
        offset += 32 * count + 1
        length = body[offset]
        content = body[offset + 1 : offset + 1 + length]
        if count != 1 or len(content) != length:
            raise ProtocolError("one number and a whole content expected")
        return cls(
            source=_read(f[12]),
            service_id=_read(f[5]),
            sender=_read(f[17]),
            phone=phone,
            content=content,
            part=f[2],
            parts=f[1],
            udhi=f[10],
            format=f[11],
            report=f[3],
            message_id=f[0],
            valid_time=_read(f[15]),
        )


@dataclass(frozen=True)
class SubmitResp:
    """CMPP_SUBMIT_RESP; result 0 is success, 8 flow control, 13 a wrong destination."""

    message_id: int
    result: int

    def encode(self) -> bytes:
        return struct.pack(">QI", self.message_id, self.result)

    @classmethod
    def decode(cls, body: bytes) -> SubmitResp:
        return cls(*struct.unpack(">QI", body))


@dataclass(frozen=True)
class Report:
    """The content of a DELIVER that reports on a submitted message."""

    message_id: int
    state: str  # DELIVRD, EXPIRED, DELETED, UNDELIV, ACCEPTD, UNKNOWN, REJECTD
    submit_time: str
    done_time: str
    phone: str
    smsc_sequence: int = 0

    def encode(self) -> bytes:
        return _REPORT.pack(
            self.message_id,
            _text(self.state, 7),
            _text(self.submit_time, 10),
            _text(self.done_time, 10),
            _text(self.phone, 32),
            self.smsc_sequence,
        )

    @classmethod
    def decode(cls, content: bytes) -> Report:
        message_id, state, submitted, done, phone, sequence = _REPORT.unpack(content)
        return cls(message_id, _read(state), _read(submitted), _read(done), _read(phone), sequence)


@dataclass(frozen=True)
class Deliver:
    """CMPP_DELIVER: a customer's message, or a report when `report` is set."""

    message_id: int
    destination: str  # Dest_Id, the SP's number
    phone: str  # Src_terminal_Id
    content: bytes
    report: bool = False
    format: int = UCS2
    service_id: str = ""

    def encode(self) -> bytes:
        head = _DELIVER.pack(
            self.message_id,
            _text(self.destination, 21),
            _text(self.service_id, 10),
            0,
            0,
            self.format,
            _text(self.phone, 32),
            0,
            int(self.report),
            len(self.content),
        )
        return head + self.content + b"\0" * 20

    @classmethod
    def decode(cls, body: bytes) -> Deliver:
        f = _DELIVER.unpack_from(body)
        content = body[_DELIVER.size : _DELIVER.size + f[9]]
        return cls(f[0], _read(f[1]), _read(f[6]), content, bool(f[8]), f[5], _read(f[2]))

    def text(self) -> str:
        """The customer's words."""
        if self.format == UCS2:
            return self.content.decode("utf-16-be", "replace")
        return self.content.decode("gb18030" if self.format == 15 else "ascii", "replace")


@dataclass(frozen=True)
class DeliverResp:
    """CMPP_DELIVER_RESP."""

    message_id: int
    result: int = 0

    def encode(self) -> bytes:
        return struct.pack(">QI", self.message_id, self.result)

    @classmethod
    def decode(cls, body: bytes) -> DeliverResp:
        return cls(*struct.unpack(">QI", body))


def split(text: str, reference: int) -> list[tuple[bytes, int]]:
    """The parts of a message in UCS-2 with their udhi flag.

    Up to 70 characters are one part; longer ones are cut into 67 characters
    behind a header of six octets (`05 00 03 reference total number`). A pair
    of surrogates is never cut.
    """
    data = text.encode("utf-16-be")
    if len(data) <= 140:
        return [(data, 0)]
    pieces = []
    start = 0
    while start < len(data):
        end = min(start + 134, len(data))
        if end < len(data) and 0xD8 <= data[end - 2] <= 0xDB:
            end -= 2
        pieces.append(data[start:end])
        start = end
    if len(pieces) > 255:
        raise ProtocolError("a message has at most 255 parts")
    head = bytes([5, 0, 3, reference & 0xFF, len(pieces)])
    return [(head + bytes([number]) + piece, 1) for number, piece in enumerate(pieces, 1)]


def join(parts: list[tuple[int, bytes, int]]) -> str:
    """The text of parts given as (number, content, udhi)."""
    return b"".join(c[6:] if udhi else c for _, c, udhi in sorted(parts)).decode("utf-16-be", "replace")
