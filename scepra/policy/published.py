"""Public keys that stand in standards, samples and tests, by the SHA-256 of their SubjectPublicKeyInfo (AC-086).

The private halves of most can be read by anybody, so that a certificate for one of them is everybody's. Sources:

* RFC 9500, Standard Public Key Cryptography (PKC) Test Keys: testRSA1024, 2048 and 4096, testECCP256, 384 and 521.
* The samples that RFC 8894 points to, and the tests of jscep, smallstep/scep and smallstep/pkcs7 on GitHub.
* The keys in scepra's own tests/vectors/captured, which open the messages that are recorded there.

Longer lists are files of an administrator's (key: refuse-file).
"""

from __future__ import annotations

PUBLISHED = frozenset(
    map(
        bytes.fromhex,
        (
            "9a9e5b0f404f4e2d4386e38b04ac91e535946dc2a7f8d84a31404b476e5c35e1",  # RFC 9500 testRSA1024
            "8fb6bad671cfe698393c453357da61b56d757ab8c0f3fb9c87f2849e63131878",  # RFC 9500 testRSA2048
            "96465ea5dc9bb2da7b351d808a7196e5761f2412a5040131c68d719aaba28fb9",  # RFC 9500 testRSA4096
            "b2b04340cfaee616ec9c2c62d261b208e54bb197498df52e8cadede23ac0ba5e",  # RFC 9500 testECCP256
            "c4c10105a0be0ed4dd3354428dc38a9bfee64da141ce16e75c94eda272f9dd3a",  # RFC 9500 testECCP384
            "acb1b8327fef995e2458fdf5e3c33b2dc0749feabd6a894cb9bda9d70ac06c24",  # RFC 9500 testECCP521
            "9ec567458bfa8ad3aae4b97a75e08907188fbcaeae5093957fc58eaf2da638e4",  # certmonger-micromdm ca.key
            "11965802e6b40d0d66c69ca4f472b8713c785a3bbe295367825cc207119a86e0",  # certmonger-micromdm client-chal.key
            "c533fd5dad00acdd3574cabfcbef1ec885ecfa3c95eb8ac4719b4e4e9d66793a",  # certmonger-shape ra.key
            "5006fc836f036d5083b77b3c1fb548d7022c542a4c40b3f434b09e3049b83c35",  # micromdm-micromdm client-a.key
            "a985196bc00562443f1a396ce5ddd83251de31c9a60eef1052f3cf443bf8aabe",  # micromdm-stepca int.key
            "71a0ae0cc8f89f0d42c4da7ea67308d8b7467cc484df9cdc002662a3e73c55b5",  # pyscep-stepca client-aes.key
            "baf3870bde4be026fae1fa71d042bca8cd4ebbb7bbd37b0889b059d5446ba169",  # strongswan-shape client-sw6.key
            "07976d8ff277792df60434edb24cc7311ea867d32e23dea63b8383b7bd1580c7",  # strongswan-stepca client-chal.key
            "5764f3e56597bf0e1af2001f03f58eec35a8e09eacecd1a2636c8e3a039c1532",  # smallstep/pkcs7 env_oaep_sha1_key.pem
            "f18c4ea95203f8b9fc7f0ab1ec67328274520ea268964ad6563f90fa303870f4",  # smallstep/pkcs7 env_v15_1_key.pem
            "a47b59dd34ac5745a441d0bbfd7c8e561512aba6daefd2a4455c3676cef49f42",  # smallstep/scep testca_ca.key
            "2793dcfc808c0b63f319d67695d8eeb0570667774614c24d26f97a4c41f2bb35",  # RFC 8894's samples, scep_req2
            "f06b66bcdc2f0ad271bf506c3f1578ba9f901e3a394899dd7d0dadadada8584e",  # jscep mvnlog_get_4_PkcsReq
            "647de21e84e0414c8ed6361fef11802151e24165abdf881ecd28a40cc8ee90a1",  # jscep mvnlog_get_1_GetCrl
            "5ee78a26c3416b65cb86b11ea0e4d391740b701e457654ffe6ddc3dd25e6ba86",  # smallstep/scep PKCSReq
        ),
    )
)
