#!/bin/sh
# Make a virtual environment from a lock; nothing is done where it is there: environment.sh FOLDER LOCK [PYTHON]
# Without PYTHON it keeps the interpreter that it has; a new one takes the first on PATH that we support.
set -eu
cd "$(CDPATH='' dirname "$0")/.."
folder=$1 lock=$2 python=${3:-}
stamp=$folder/.installed
supported="3.11 3.12 3.13 3.14"

fail() {
    echo "$1" >&2
    exit 1
}

# Print "3.12", or nothing where that is no Python that runs. Any Python must understand the question.
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

is_supported() { case " $supported " in *" ${1:-none} "*) ;; *) return 1 ;; esac; }

# pyenv's python3.12 on PATH refuses to run where another version is chosen; it is there all the same.
take() {
    python=$1 version=$(version_of "$1")
    if [ -z "$version" ] && found=$(pyenv prefix "${1#python}" 2>/dev/null); then
        python=$found/bin/python3 version=$(version_of "$found/bin/python3")
    fi
}

check_python() {
    take "$python"
    [ -n "$version" ] || fail "PYTHON=$python does not run ($("$python" --version 2>&1 | head -n 1)); expected an interpreter's name or path, as in: make PYTHON=python3.12"
    is_supported "$version" || fail "PYTHON=$python is Python $version; expected one of $supported, as in: make PYTHON=python3.12"
}

find_python() {
    for name in python3 python3.13 python3.12 python3.11 python3.14; do
        take "$name"
        if is_supported "$version"; then return; fi
    done
    found=$(version_of python3)
    fail "Expected one of Python $supported, and python3 here is ${found:-missing}: name another, as in: make PYTHON=/path/to/python3.12"
}

# An environment belongs to a version of Python and a folder: in a copied or renamed checkout its programs
# would still be those of the first.
describe() {
    present=$(version_of "$folder/bin/python")
    place="${version:-$present} in $(CDPATH='' cd "$folder" 2>/dev/null && pwd -P || true),"
    wanted="$place $(cksum <"$lock")"
    made=$(cat "$stamp" 2>/dev/null || true)
    if [ "$present" != "${version:-$present}" ] || [ -z "$present" ]; then made=; fi
}

version=
if [ -n "$python" ]; then check_python; fi
describe
if [ "$made" = "$wanted" ]; then exit 0; fi

mkdir -p "$folder" 2>/dev/null && [ -w "$folder" ] || fail "Cannot write to $(pwd -P)/$folder; expected a checkout that you own, on a disk that can be written to"
# Two at once would each install into what the other makes.
exec 9>"$folder.lock"
if command -v flock >/dev/null; then
    flock 9
    describe
    if [ "$made" = "$wanted" ]; then exit 0; fi
fi

case "$made" in
"$place"*) # only the lock is another
    rm "$stamp"
    ;;
*) # none, half of one, or one that belongs elsewhere
    if [ -z "$python" ]; then find_python; fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python (Python $version) lacks the modules venv and ensurepip; on Debian and Ubuntu: apt-get install python$version-venv"
    # Where an environment is active its own interpreter may be meant, which is about to go.
    python=$("$python" -c 'import sys; print(sys._base_executable)')
    rm -rf "$folder"
    "$python" -m venv "$folder" || fail "$python -m venv $folder failed, for the reason above"
    describe
    ;;
esac
echo "Installing $lock into $folder (Python $present)"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$lock" || fail "$lock could not be installed into $folder, for the reason above; the next make tries again"
[ -n "$("$folder/bin/python" -m pip --disable-pip-version-check freeze)" ] || fail "pip installed $lock elsewhere than into $folder: look for target, prefix or root in: pip config list"
echo "$wanted" >"$stamp"
