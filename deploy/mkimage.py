#!/usr/bin/env python3
"""mkimage.py OUT.tar REF ROOTFS [--user UID] [--workdir DIR] [--entrypoint WORD]... [--env NAME=VALUE]...

An OCI image archive from a folder: for `ctr image import`, `podman load`, `skopeo copy oci-archive:`. No daemon, no network, no root: every file is
root's, and the same folder gives the same bytes."""
import argparse
import hashlib
import io
import json
import os
import platform
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def as_root(info):
    """Owner, time and umask of the machine that builds do not count; what may be executed does, and a sticky folder is everybody's."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    if not info.issym():
        info.mode = 0o1777 if info.mode & 0o1000 else 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    return info


def make_layer(rootfs):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(os.listdir(rootfs)):
            tar.add(os.path.join(rootfs, name), arcname=name, filter=as_root)
    return out.getvalue()


def digest(blob):
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def descriptor(media_type, blob, **more):
    return dict(mediaType="application/vnd.oci.image." + media_type, digest=digest(blob), size=len(blob), **more)


def make_config(options, layer):
    config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] + options.env}
    if options.entrypoint:
        config["Entrypoint"] = options.entrypoint
    if options.user:
        config["User"] = options.user
    if options.workdir:
        config["WorkingDir"] = options.workdir
    return json.dumps({
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
    }).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("ref")
    parser.add_argument("rootfs")
    parser.add_argument("--user", help="a number: Kubernetes cannot tell whether a name is root's")
    parser.add_argument("--workdir")
    parser.add_argument("--entrypoint", action="append", help="once for each word")
    parser.add_argument("--env", action="append", default=[])
    options = parser.parse_args()

    layer = make_layer(options.rootfs)
    config = make_config(options, layer)
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", config), "layers": [descriptor("layer.v1.tar", layer)],
    }).encode()
    # containerd takes the whole name from its own annotation; the standard one is only the tag.
    names = {"io.containerd.image.name": options.ref, "org.opencontainers.image.ref.name": options.ref.rsplit(":", 1)[-1]}
    index = json.dumps({"schemaVersion": 2, "manifests": [descriptor("manifest.v1+json", manifest, annotations=names)]}).encode()

    files = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index)]
    files += [("blobs/sha256/" + digest(blob)[7:], blob) for blob in (layer, config, manifest)]
    with tarfile.open(options.out, "w") as tar:
        for name, blob in files:
            info = tarfile.TarInfo(name)
            info.size = len(blob)
            tar.addfile(info, io.BytesIO(blob))
    print(f"{options.out}: {options.ref}, {len(layer) / 1e6:.1f} MB, {digest(manifest)}")


main()
