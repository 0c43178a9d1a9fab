#!/bin/sh
# Print where this machine's apt gets its own release from, whatever the files and their format:
# `deb URI SUITE COMPONENT` a line, the release itself, its updates and its security updates.
# It knows a source by the Origin in its index, so `apt-get update` must have run.
set -eu
. /etc/os-release
# shellcheck disable=SC2016 # apt-get fills these in
apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v id="$ID" -v release="$VERSION_CODENAME" '
        tolower($1) == id && ($3 == release || index($3, release "-") == 1) && !seen[$0]++ {
            print "deb", $2, $3, $4
        }'
