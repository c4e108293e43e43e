#!/usr/bin/env bash
# Prints the path of a Godot 4 for the addon's tests: tools/godot.sh [headless|render]
# The one that GODOT names, or Debian's newest, unpacked into the user's cache: nothing is installed
# and nothing of the system is changed. "render" brings the libraries that draw pictures, too, and beside
# godot a virtual display, xvfb.
set -euo pipefail

mode=${1:-headless}
suite=${GODOT_SUITE:-forky}
if [[ -n ${GODOT:-} ]]; then
    echo "$GODOT"
    exit
fi
into=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/npc-engine/godot-$suite-$mode
if [[ -x $into/godot ]]; then
    echo "$into/godot"
    exit
fi

fail() {
    echo "No Godot: $1 Set GODOT to a Godot 4.5 or newer." >&2
    exit 1
}
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "this is no Debian."
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[[ -r $keyring ]] || fail "there is no $keyring (apt install debian-archive-keyring)."
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources \
    /etc/apt/sources.list.d/*.list 2>/dev/null |
    grep -oE 'https?://[^ ]+/debian/?( |$)' | awk 'NR == 1 { print $1 }' || true)
arch=$(dpkg --print-architecture)

work=$into.$$
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/apt/lists/partial "$work"/apt/cache/archives/partial "$work"/debs "$work"/root
: >"$work/apt/status"
echo "deb [signed-by=$keyring] ${mirror:?this system names no Debian mirror: set GODOT=/path/to/godot} $suite main" \
    >"$work/apt/sources.list"
cat >"$work/apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/apt/sources.list"; Dir::Etc::sourceparts "/dev/null";
Dir::Etc::parts "/dev/null"; Dir::State::lists "$work/apt/lists";
Dir::State::status "$work/apt/status"; Dir::Cache "$work/apt/cache";
APT::Architecture "$arch"; APT::Architectures {"$arch";}; APT::Install-Recommends "false";
APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Retries "3";
Acquire::Check-Valid-Until "false";
CONF
export APT_CONFIG=$work/apt/apt.conf

# What belongs to a running system, and without "render" what only draws.
skip='dpkg|tar|perl-base|debconf|init-system-helpers|libc-gconv.*'
wanted=(godot)
if [[ $mode == render ]]; then
    wanted+=(libgl1 libegl1 libgl1-mesa-dri xvfb x11-xkb-utils xkb-data)
else
    skip+='|libllvm.*|mesa-.*|libz3.*|fonts-.*|xkb-data|libsensors.*'
fi
apt-get -qq update >&2 || fail "the mirror cannot be reached."
packages=$(apt-get install -y --print-uris "${wanted[@]}" |
    sed -n "s/^'[^']*' \([^_]*\)_.*/\1/p" | grep -vE "^($skip)$") || fail "$suite has none."
# shellcheck disable=SC2086 # a list of names
(cd "$work/debs" && apt-get -qq download $packages >&2) || fail "its packages cannot be fetched."
for deb in "$work"/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/root" --exclude=./usr/share/doc \
        --exclude=./usr/share/man --exclude=./usr/share/locale
done
rm -rf "$work/debs" "$work/apt"

cat >"$work/godot" <<'RUN'
#!/bin/sh
# Godot with its own libraries, so that those of the system do not matter.
root=$(dirname "$(readlink -f "$0")")/root
for lib in "$root"/usr/lib/*-linux-gnu*; do break; done
for loader in "$lib"/ld-linux*.so.*; do break; done
export LIBGL_DRIVERS_PATH="$lib/dri" GBM_BACKENDS_PATH="$lib/gbm"
export __EGL_VENDOR_LIBRARY_DIRS="$root/usr/share/glvnd/egl_vendor.d"
export FONTCONFIG_PATH="$root/etc/fonts" XKB_CONFIG_ROOT="$root/usr/share/X11/xkb"
exec "$loader" --library-path "$lib:$lib/pulseaudio" "$root/usr/bin/godot" "$@"
RUN
chmod +x "$work/godot"
if [[ $mode == render ]]; then
    # The X server calls /usr/bin/xkbcomp, which is here at another place: it is made to look for
    # it in its working directory, by a path of the same length.
    sed -i 's#/usr/bin\x00#././././\x00#' "$work/root/usr/bin/Xvfb"
    cat >"$work/xkbcomp" <<'RUN'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/root
for lib in "$root"/usr/lib/*-linux-gnu*; do break; done
for loader in "$lib"/ld-linux*.so.*; do break; done
exec "$loader" --library-path "$lib" "$root/usr/bin/xkbcomp" "$@"
RUN
    cat >"$work/xvfb" <<'RUN'
#!/bin/sh
# The virtual display, with its own libraries and keyboard maps.
cd "$(dirname "$(readlink -f "$0")")" || exit
for lib in root/usr/lib/*-linux-gnu*; do break; done
for loader in "$lib"/ld-linux*.so.*; do break; done
export LIBGL_DRIVERS_PATH="$lib/dri"
exec "$loader" --library-path "$lib" root/usr/bin/Xvfb -xkbdir "$PWD/root/usr/share/X11/xkb" "$@"
RUN
    chmod +x "$work/xkbcomp" "$work/xvfb"
fi
"$work/godot" --headless --version >&2 || fail "the one of $suite does not run here."
mv -T "$work" "$into" 2>/dev/null || [[ -x $into/godot ]]  # another run was faster
echo "$into/godot"
