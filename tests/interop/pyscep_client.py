"""The command that PyScep, a library, lacks. Runs in PyScep's own virtual environment.

It exits with 0 after a certificate, with 2 after a refusal and with 3 if the request is pending after a minute.
"""

import argparse
import sys
import time
from pathlib import Path

from asn1crypto import pem
from scep import Client

POLLS = 60
USAGE = {"digital_signature", "key_encipherment"}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("common_name")
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--challenge")
    parser.add_argument("--old-certificate", type=Path)
    parser.add_argument("--old-key", type=Path)
    wanted = parser.parse_args()

    request, key = Client.SigningRequest.generate_csr(cn=wanted.common_name, key_usage=USAGE, password=wanted.challenge)
    wanted.key.write_bytes(pem.armor("PRIVATE KEY", key.to_der()))
    if wanted.old_certificate:
        identity = Client.Certificate.from_pem(wanted.old_certificate.read_bytes())
        identity_key = Client.PrivateKey.from_pem(wanted.old_key.read_bytes())
    else:
        identity, identity_key = Client.SigningRequest.generate_self_signed(
            cn=wanted.common_name, key_usage=USAGE, private_key=key
        )
    client = Client.Client(wanted.url)
    answer = client.enrol(csr=request, identity=identity, identity_private_key=identity_key)
    for _ in range(POLLS):
        if answer.status != Client.PKIStatus.PENDING:
            break
        time.sleep(1)
        answer = client.poll(identity, identity_key, identity.subject, answer.transaction_id)
    if answer.status == Client.PKIStatus.FAILURE:
        print("FAILURE", answer.fail_info)
        return 2
    if answer.status == Client.PKIStatus.PENDING:
        print("PENDING", answer.transaction_id)
        return 3
    wanted.certificate.write_bytes(pem.armor("CERTIFICATE", answer.certificates[0].to_der()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
