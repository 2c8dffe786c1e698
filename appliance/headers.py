"""Response headers that are the same from nginx and from the application."""

Headers = tuple[tuple[str, str], ...]

# With every response.
SECURITY: Headers = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)
# With every response over HTTPS, which is nginx's (RFC 6797).
TRANSPORT_SECURITY: Headers = (("Strict-Transport-Security", "max-age=31536000"),)
PAGE: Headers = (
    ("Cache-Control", "no-cache"),
    ("Vary", "Accept, Accept-Encoding"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "X-PyPI-Last-Serial"),
)
PACKAGE_FILE: Headers = (("Cache-Control", "max-age=365000000, immutable, public"),)
# Of what not every client may read.
PRIVATE: Headers = (("Cache-Control", "private, no-cache"),)
PRIVATE_PAGE: Headers = PRIVATE + PAGE[1:]
PRIVATE_FILE: Headers = (("Cache-Control", "max-age=365000000, immutable, private"),)
PROVENANCE = "application/vnd.pypi.integrity.v1+json"
"""Media type of the provenance of a file (PEP 740)."""
CLIENT_FILE: Headers = (("Cache-Control", "no-cache"),)
