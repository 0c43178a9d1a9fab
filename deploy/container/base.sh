#!/bin/sh
# Make a minimal Debian of this machine's release as an image, for where no registry can be reached:
# base.sh ENGINE IMAGE. It needs root, debootstrap, and a Debian (or Ubuntu) whose apt works.
set -eu
engine=$1 image=$2
if ! command -v debootstrap >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "To make $image takes root and debootstrap; or name an image that is here with BASE=..." >&2
    exit 1
fi
. /etc/os-release
apt-get update --quiet
sources=$("$(dirname "$0")/apt_sources.sh")
mirror=$(echo "$sources" | awk -v release="$VERSION_CODENAME" '$3 == release { print $2; exit }')
if [ -z "$mirror" ]; then
    echo "This machine's apt has no source of $ID $VERSION_CODENAME, of which $image is to be made." >&2
    exit 1
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

# debootstrap does not read apt's settings.
eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
export ${http_proxy:+http_proxy} ${https_proxy:+https_proxy}
debootstrap --variant=minbase "$VERSION_CODENAME" "$folder/root" "$mirror"
echo "$sources" >"$folder/root/etc/apt/sources.list"
# As Debian's own slim images do.
for place in usr/share/doc usr/share/man usr/share/locale var/cache/apt var/lib/apt/lists var/log; do
    rm -rf "$folder/root/$place"/*
done
tar --create --directory "$folder/root" --file "$folder/root.tar" .
rm -rf "$folder/root"
printf '%s\n' "FROM scratch" "ADD root.tar /" 'CMD ["bash"]' >"$folder/Dockerfile"
"$engine" build --tag "$image" "$folder"
