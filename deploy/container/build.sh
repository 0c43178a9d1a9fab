#!/bin/sh
# Make the image fashion-lenet-bn:DEVICE from bentofile.yaml: build.sh cpu|cuda
# With ENGINE; by default Docker where its daemon runs, else Podman, else Buildah. PYTHON (a full path) is one with
# BentoML; BASE is an image with Debian's apt-get, by default Debian's own, or one made here where no registry is
# reached.
set -eu
device=$1
: "${PYTHON:=python3}" "${BASE:=}" "${ENGINE:=}"
cd "$(dirname "$0")/../.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
export BENTOML_HOME="$scratch/bentoml" BENTOML_DO_NOT_TRACK=True

# Buildah's parts need neither privileges nor a bridge for this; only Docker's format has HEALTHCHECK.
options="--opt isolation=chroot --opt network=host --opt format=docker"
if [ -n "$ENGINE" ]; then
    engine=$ENGINE
elif docker version >/dev/null 2>&1; then
    engine=docker
elif command -v podman >/dev/null; then
    engine=podman
elif command -v buildah >/dev/null; then
    engine=buildah
else
    echo "There is no container engine here: install Docker, Podman or Buildah." >&2
    exit 1
fi
if [ "$engine" = docker ]; then options=; fi

if [ -z "$BASE" ]; then
    BASE=docker.io/library/debian:bookworm-slim
    if ! timeout 300 "$engine" pull "$BASE" >/dev/null; then
        BASE=$(. /etc/os-release && echo "localhost/$ID:$VERSION_CODENAME-slim")
        echo "No registry can be reached; the base image is $BASE, made here." >&2
        "$engine" inspect "$BASE" >/dev/null 2>&1 || deploy/container/base.sh "$engine" "$BASE"
    fi
fi

# How this machine reaches package indexes and mirrors: what it trusts, and apt's proxies. Neither stays in the
# image. Where apt names files of this machine, the first has to do.
touch "$scratch/apt.conf"
if command -v apt-config >/dev/null; then
    apt-config dump | grep -E '^Acquire::(https?|Check)' |
        grep -v -i -E '::(CA|Ssl|Issuer|Crl|Proxy-Auto)' >"$scratch/apt.conf" || true
fi
if [ -f "${SSL_CERT_FILE:=/etc/ssl/certs/ca-certificates.crt}" ]; then
    options="$options --opt secret=id=certificates,src=$SSL_CERT_FILE"
    echo 'Acquire::https::CAInfo "/run/secrets/certificates";' >>"$scratch/apt.conf"
fi
options="$options --opt secret=id=apt,src=$scratch/apt.conf"

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
