#!/bin/sh
# Make a minimal Debian as an image, for where no registry can be reached: base.sh ENGINE IMAGE
# It needs root, debootstrap and Debian's packages.
set -eu
engine=$1 image=$2
if ! command -v debootstrap >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "To make $image takes root and debootstrap; or name an image that is here with BASE=..." >&2
    exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

debootstrap --variant=minbase bookworm "$folder/root"
echo "deb http://deb.debian.org/debian-security bookworm-security main" >>"$folder/root/etc/apt/sources.list"
# As Debian's own slim images do.
for place in usr/share/doc usr/share/man usr/share/locale var/cache/apt var/lib/apt/lists var/log; do
    rm -rf "$folder/root/$place"/*
done
tar --create --directory "$folder/root" --file "$folder/root.tar" .
rm -rf "$folder/root"
printf '%s\n' "FROM scratch" "ADD root.tar /" 'CMD ["bash"]' >"$folder/Dockerfile"
"$engine" build --tag "$image" "$folder"
