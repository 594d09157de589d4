"""Certificates that tests sign images with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Issued(NamedTuple):
    """PEM of the certificate and its authority's, of the private key, and of the authority's certificate alone."""

    chain: bytes
    key: bytes
    authority: bytes


def issued(organization: str = "Studio Ltd", *, curve: ec.EllipticCurve | None = None) -> Issued:
    """A certificate for signing documents by an authority of its own; Ed25519 unless a curve is given."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ed25519.Ed25519PrivateKey.generate() if curve is None else ec.generate_private_key(curve)
    authority_name, name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text), x509.NameAttribute(NameOID.ORGANIZATION_NAME, text)])
        for text in ("An authority", organization)
    )
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    authority = _certificate(authority_name, authority_name, authority_key.public_key(), signs=False)
    leaf = _certificate(name, authority_name, key.public_key(), signs=True)
    use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    certificates = (
        authority.sign(authority_key, hashes.SHA256()),
        leaf.add_extension(use, critical=False)
        .add_extension(above, critical=False)
        .sign(authority_key, hashes.SHA256()),
    )
    top, own = (certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    return Issued(own + top, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), top)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey, *, signs: bool
) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs,
        crl_sign=not signs,
        encipher_only=False,
        decipher_only=False,
    )
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=not signs, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
