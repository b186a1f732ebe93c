#!/usr/bin/env bash
# Make a virtual environment for each peer of the benchmark, and print how to name them to it.
#
#   bash tests/benchmarks/make_peers.sh [FOLDER] [PYTHON]      then      eval "$(bash tests/benchmarks/make_peers.sh FOLDER)"
#
# The peers' requirements exclude each other and ours, so each stands alone; what is there already is kept.
# `torch==2.13.0` also takes the CPU build (2.13.0+cpu), which is preferred wherever pip can see it.
set -euo pipefail

folder=$(realpath -m "${1:-.venv/peers}")
python=${2:-python3}

make() { # make NAME REQUIREMENT...: each requirement is installed in its turn, so that the first ones pin the rest
    local name=$1 interpreter=$folder/$1/bin/python
    shift
    if [ ! -e "$folder/$name/done" ]; then
        "$python" -m venv "$folder/$name" >&2
        for requirement in "$@"; do
            "$interpreter" -m pip install --quiet $requirement >&2
        done
        touch "$folder/$name/done"
    fi
    echo "export SCG_BENCH_${name^^}=$interpreter"
}

make torch numpy torch==2.13.0
make jax jax==0.10.2
# setuptools: storchastic's oldest dependencies still import pkg_resources
make storchastic numpy torch==2.13.0 "setuptools<81" "torch==2.13.0 pyro-ppl==1.9.2 entmax==1.3" "torch==2.13.0 storchastic==0.3.7"
