"""Signs with tf-persist and verifies with Python's model-signing, and the other way round.

    cargo build -p tf-persist-store --example model_signing
    PYTHONPATH=python:PACKAGES .venv/bin/python -m checks.check_signing --program target/debug/examples/model_signing [--vectors DIR]

PACKAGES is where `pip install --target PACKAGES model-signing==1.1.1 pyOpenSSL` put them. The keys are made by openssl.
`--vectors` names a folder with signatures that model-signing made, with keys and a certificate.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

FILES = {
    "saved_model.pb": b"graph", "variables/variables.index": b"index", "assets/vocab.txt": b"a\nb\n",
    "assets.extra/empty": b"", "a b": b"1", "a.txt": b"2", "a/b": b"3", ".hidden": b"4", "\u00fc#%": b"5",
}


def call(*command):
    """The exit code of a command, and what it prints."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def must(holds, what):
    if not holds:
        sys.exit(f"check_signing: {what}")


def make_keys(folder):
    """Private keys of each form, each with its public key: PKCS#8 and SEC1, on both curves."""
    for curve, name in (("prime256v1", "p256"), ("secp384r1", "p384")):
        sec1, pkcs8, public = (folder / f"{name}.{form}" for form in ("sec1.pem", "pem", "pub"))
        call("openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", sec1)
        call("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", sec1, "-out", pkcs8)
        must(call("openssl", "ec", "-in", sec1, "-pubout", "-out", public)[0] == 0, "openssl made no key")
        yield pkcs8, public
        yield sec1, public


def ours_by_python(program, folder, model):
    for key, public in make_keys(folder):
        code, signature, error = call(program, "sign", model, key)
        must(code == 0, f"{key.name}: {error}")
        path = model / "model.sig"
        path.write_text(signature)
        verify = (sys.executable, "-m", "model_signing", "verify", "key", "--public_key", public, "--signature", path)
        code, _, error = call(*verify, model)
        must(code == 0, f"model-signing refuses what {key.name} signed: {error}")
        code, _, error = call(program, "verify", model, path, public)
        must(code == 0, f"{key.name}: {error}")
        changed = model / "assets" / "vocab.txt"
        changed.write_bytes(b"a\nc\n")
        must(call(*verify, model)[0] != 0, "model-signing takes a changed file")
        code, _, error = call(program, "verify", model, path, public)
        must(code == 1 and "`assets/vocab.txt` has other contents" in error, error)
        changed.write_bytes(FILES["assets/vocab.txt"])
        path.unlink()
        print(f"{key.name}: signed by tf-persist, verified by model-signing")


def pythons_by_ours(program, folder, model):
    for key, public in make_keys(folder):
        path = folder / f"{key.name}.sig"
        sign = (sys.executable, "-m", "model_signing", "sign", "key", "--private_key", key, "--signature", path)
        code, _, error = call(*sign, model)
        must(code == 0, f"model-signing does not sign with {key.name}: {error}")
        code, said, error = call(program, "verify", model, path, public)
        must(code == 0 and f"{len(FILES)} files" in said, f"{key.name}: {error}")
        bundle = json.loads(path.read_text())
        signature = bundle["dsseEnvelope"]["signatures"][0]
        signature["sig"] = signature["sig"][:-8] + "AAAA" + signature["sig"][-4:]
        path.write_text(json.dumps(bundle))
        must(call(program, "verify", model, path, public)[0] == 1, "a changed signature is taken")
        print(f"{key.name}: signed by model-signing, verified by tf-persist")


def vectors(program, folder):
    for signature, trusted in (("key", "p256.pub.pem"), ("p384", "p384.pub.pem"), ("cert", "ca.crt")):
        code, _, error = call(program, "verify", folder / "model", folder / f"{signature}.sig", folder / trusted)
        must(code == 0, f"{signature}.sig: {error}")
    code, _, error = call(program, "verify", folder / "model", folder / "blake3.sig", folder / "p256.pub.pem")
    must(code == 1 and "`blake3`" in error, error)
    print("the vectors: verified, and blake3 refused by name")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, type=pathlib.Path, help="the example model_signing")
    parser.add_argument("--vectors", type=pathlib.Path, help="signatures that model-signing made")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        model = folder / "model"
        for name, contents in FILES.items():
            (model / name).parent.mkdir(parents=True, exist_ok=True)
            (model / name).write_bytes(contents)
        ours_by_python(args.program, folder, model)
        pythons_by_ours(args.program, folder, model)
    if args.vectors:
        vectors(args.program, args.vectors)


if __name__ == "__main__":
    main()
