"""Limits of requests to upstreams: times, retries and sizes."""

from dataclasses import dataclass

from appliance.index.metadata import MAX_METADATA

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often to ask an upstream, and how much to accept from it.

    Attributes:
        connections: Requests at a time.
        connect_seconds: For a connection with TLS.
        idle_seconds: Without one byte.
        slow_seconds, slow_bytes: A body must have so many bytes in so many seconds.
        attempts: For a request, in a row; one that received ``progress_bytes`` starts a new row.
        first_wait_seconds, longest_wait_seconds: Before an attempt; in between it doubles, with
            jitter.
        longest_retry_after_seconds: The most to wait if the server states a time (RFC 9110).
        redirects: To follow for a request.
        page_bytes: Of a project page, uncompressed.
        metadata_bytes: Of the core metadata of a file.
        provenance_bytes: Of the provenance of a file.
        directory_bytes: Of a wheel's zip directory that is read by ranges.
        file_bytes: Of a file whose size is not stated.
        piece_bytes: Of the pieces that a file of more than two of them is requested in.
        pieces_ahead: Of one file, besides the one that is being written.
        pieces: Of all files, that are received or wait for earlier ones in memory.
    """

    connections: int = 16
    connect_seconds: float = 15
    idle_seconds: float = 30
    slow_seconds: float = 60
    slow_bytes: int = 60 * _KIB
    attempts: int = 6
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 20
    longest_retry_after_seconds: float = 120
    progress_bytes: int = _MIB
    redirects: int = 10
    page_bytes: int = 64 * _MIB
    metadata_bytes: int = MAX_METADATA
    provenance_bytes: int = _MIB
    directory_bytes: int = 8 * _MIB
    file_bytes: int = 16 * _GIB
    piece_bytes: int = 4 * _MIB
    pieces_ahead: int = 4
    pieces: int = 8
