"""A certificate authority of a test's own."""

import subprocess


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


class Authority:
    """Signs certificates, in a folder that everybody can read."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        self.name = name
        self.ca = folder / f"{name}.crt"
        self.key = folder / f"{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 2,
                "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.ca)

    def sign(self, name):
        """(certificate, key) of `name`, for localhost."""
        request, key, certificate = (self.folder / f"{name}.{end}" for end in ("csr", "key", "crt"))
        extension = self.folder / f"{name}.ext"
        extension.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial", "-days", 2,
                "-extfile", extension, "-out", certificate)
        key.chmod(0o644)
        return certificate, key
