#!/bin/sh
# Make the image fashion-lenet-bn:DEVICE from bentofile.yaml: build.sh cpu|cuda
# With Docker where its daemon runs, else Podman, else Buildah. PYTHON (a full path) is one with BentoML; BASE is an
# image with Debian's apt-get, by default Debian's own, or one made here where no registry is reached.
set -eu
device=$1
: "${PYTHON:=python3}" "${BASE:=}"
cd "$(dirname "$0")/../.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
export BENTOML_HOME="$scratch/bentoml" BENTOML_DO_NOT_TRACK=True

# Buildah's parts need neither privileges nor a bridge for this; only Docker's format has HEALTHCHECK.
options="--opt isolation=chroot --opt network=host --opt format=docker"
if docker version >/dev/null 2>&1; then
    engine=docker options=
elif command -v podman >/dev/null; then
    engine=podman
elif command -v buildah >/dev/null; then
    engine=buildah
else
    echo "There is no container engine here: install Docker, Podman or Buildah." >&2
    exit 1
fi

if [ -z "$BASE" ]; then
    BASE=docker.io/library/debian:bookworm-slim
    if ! timeout 300 "$engine" pull "$BASE" >/dev/null; then
        BASE=localhost/debian:bookworm-slim
        echo "No registry can be reached; the base image is $BASE, made here." >&2
        "$engine" inspect "$BASE" >/dev/null 2>&1 || deploy/container/base.sh "$engine" "$BASE"
    fi
fi

# What pip must trust where a proxy stands before the package index; it does not stay in the image.
if [ -f "${SSL_CERT_FILE:-}" ]; then
    options="$options --opt secret=id=certificates,src=$SSL_CERT_FILE"
fi

info=$("$PYTHON" -m service info --device cpu)
of_model() { echo "$info" | awk -v name="$1" '$1 == name { print $NF }'; }

bento=$("$PYTHON" -m bentoml build --output tag | sed -n 's/^__tag__://p')
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || true)

# BentoML puts the Bento into TMPDIR, and then takes no Dockerfile from outside the working directory.
cd "$scratch"
export TMPDIR="$scratch"
# shellcheck disable=SC2086 # options are words
"$PYTHON" -m bentoml containerize "$bento" --backend "$engine" --image-tag "fashion-lenet-bn:$device" \
    --opt "iidfile=$scratch/image" --opt "build-arg=BASE=$BASE" --opt "build-arg=DEVICE=$device" $options \
    --opt "label=org.opencontainers.image.version=$version" \
    --opt "label=org.opencontainers.image.revision=$revision" \
    --opt "label=fashion-lenet.model.version=$(of_model model)" \
    --opt "label=fashion-lenet.model.sha256=$(of_model sha256)"
# BentoML succeeds though the engine fails.
test -s "$scratch/image"
